"""A short song and a small film of it, heard once for all tests here."""

import json
from pathlib import Path

import pytest
import soundfile

from vjserver.cli import main
from vjserver.sources.song import demo_song


@pytest.fixture(scope="session")
def song(tmp_path_factory) -> Path:
    """Twelve seconds of the demo's song, from the beat on."""
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, demo_song()[20 * 48000 : 32 * 48000], 48000, subtype="PCM_16")
    return path


@pytest.fixture
def vj(capsys):
    """Run a command; return its last line as JSON, and what it said."""

    def run(*args):
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        out = capsys.readouterr()
        rows = out.out.strip().splitlines()
        return code, json.loads(rows[-1]) if code == 0 and rows and rows[-1][:1] in "[{" else None, out.err + out.out

    return run
