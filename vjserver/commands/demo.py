"""``vjserver demo``: nothing goes in, the built-in song and its pictures come out."""

import argparse
import sys

from platformdirs import user_cache_path

from vjserver.app.show import Show
from vjserver.commands.run import play, show_options
from vjserver.sources.song import write_song

arguments = show_options


def run(args: argparse.Namespace) -> int:
    """Play the demo."""
    song = user_cache_path("vjserver", appauthor=False) / "demo-song-1.flac"
    if args.device is None and args.source is None and not song.exists():
        print("making the demo's song ...", file=sys.stderr)
        write_song(song)
    return play(Show.model_validate({"source": {"kind": "file", "path": song}}), args)
