"""The command line. Only argparse is imported here; each command brings what it needs."""

import argparse
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vjserver import __version__
from vjserver.types.errors import VJError
from vjserver.types.text import visible

if TYPE_CHECKING:
    from vjserver.app.lan import Lan
    from vjserver.app.show import Show


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 well, 1 an error that was told, 2 a wrong command line."""
    plain_streams()
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except VJError as error:
        print(f"vjserver: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as end:
        return int(end.args[0]) if end.args else 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; Python would complain at exit
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        print(f"vjserver: what is printed cannot be written: {error.strerror}", file=sys.stderr)
        return 1


class Plain:
    """A stream that shows what is written as text: controls are made visible, signs it cannot say are escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, lines as lines."""
        if text.isprintable():
            self._stream.write(text)
        else:
            self._stream.write("".join(part if part in "\n\t" else visible(part) for part in _WHITE.split(text)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_WHITE = re.compile(r"([\n\t])")


def plain_streams() -> None:
    """Print nothing but text from now on, on a console of any encoding: no foreign word steers the terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Plain(stream))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vjserver", description="Hears the beat, makes the picture, feeds TouchDesigner."
    )
    parser.add_argument("-v", "--version", action="version", version=f"vjserver {__version__}")
    parser.set_defaults(run=_help)
    commands = parser.add_subparsers(metavar="COMMAND")

    help_ = commands.add_parser("help", help="say what can be typed, or more of one command")
    help_.add_argument("command", nargs="*", metavar="COMMAND")
    help_.set_defaults(run=_help)

    run = commands.add_parser("run", help="run a show: live sound in, beats and pictures out")
    run.add_argument(
        "show", nargs="?", type=Path, metavar="SHOW.toml", help="the show file (default: yours, see init, or none)"
    )
    _add_run_options(run)
    run.set_defaults(run=_run)

    init = commands.add_parser("init", help="write a show file with everything that can be set, and what it means")
    init.add_argument("path", nargs="?", type=Path, metavar="SHOW.toml", help="where to (default: your own, for run)")
    init.set_defaults(run=_init)

    demo = commands.add_parser("demo", help="play the built-in song and show everything")
    _add_run_options(demo)
    demo.set_defaults(run=_demo)

    ear = commands.add_parser("ear", help="say, and draw, what the ear hears in a sound file or at an audio input")
    ear.add_argument("file", type=Path, nargs="?")
    ear.add_argument("--device", metavar="NAME", help="listen to this audio input (part of its name, or its index)")
    ear.add_argument("--seconds", type=_seconds, default=20.0, metavar="N", help="listen so long to --device")
    ear.add_argument("--plot", type=Path, metavar="OUT.png", help="draw it (.png, .svg, .pdf or .html)")
    ear.add_argument("--json", action="store_true", help="one JSON line an event")
    ear.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the [ear] options of this show")
    ear.set_defaults(run=_ear)

    speech = commands.add_parser("speech", help="write down what is said in a sound file or at a microphone")
    speech.add_argument("file", type=Path, nargs="?")
    speech.add_argument("--device", metavar="NAME", help="listen to this audio input (part of its name, or its index)")
    speech.add_argument("--seconds", type=_seconds, default=60.0, metavar="N", help="listen so long to --device")
    speech.add_argument("--language", default="", metavar="L", help="such as en or es (default: it is found out)")
    speech.add_argument("--model", default="", metavar="M", help="base, tiny.en, or a folder of CTranslate2's")
    speech.add_argument("--json", action="store_true", help="one JSON line an event")
    speech.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the [speech] options of this show")
    speech.set_defaults(run=_speech)

    commands.add_parser("devices", help="list the audio inputs").set_defaults(run=_devices)

    presets = commands.add_parser("presets", help="list, check or show presets")
    actions = presets.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list all presets")
    listing.add_argument("--folder", type=Path, help="also those of this folder")
    listing.set_defaults(run=_presets_list)
    check = actions.add_parser("check", help="check preset files (default: ours)")
    check.add_argument("files", nargs="*", type=Path)
    check.set_defaults(run=_presets_check)
    actions.add_parser("schema", help="print the JSON schema of preset files").set_defaults(run=_presets_schema)
    show = actions.add_parser("show", help="print a preset, and draw it with --png")
    show.add_argument("name")
    show.add_argument("--folder", type=Path, help="look in this folder too")
    show.add_argument("--png", type=Path, metavar="OUT.png", help="draw four seconds into it, at 124 bpm")
    show.set_defaults(run=_presets_show)

    models = commands.add_parser("models", help="list, fetch, convert, take in or verify models")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list what is here and what can be fetched").set_defaults(run=_models_list)
    pull = actions.add_parser("pull", help="fetch a known model; one that was broken off goes on")
    pull.add_argument("name")
    pull.set_defaults(run=_models_pull)
    add = actions.add_parser(
        "add", help="take in a checkpoint: a .safetensors file, a folder in the diffusers layout, or a converted one"
    )
    add.add_argument("path", type=Path)
    add.add_argument("--name", default="", help="what to call it (default: its own name)")
    add.add_argument("--licence", default="", help="its licence, if the folder does not tell")
    add.set_defaults(run=_models_add)
    verify = actions.add_parser("verify", help="compare every file with its SHA-256")
    verify.add_argument("names", nargs="*")
    verify.set_defaults(run=_models_verify)

    convert = actions.add_parser(
        "convert", help="make a folder of safetensors of a GAN's or VQGAN's checkpoint (.pkl, .pt, .bin, .ckpt)"
    )
    convert.add_argument("file", type=Path, metavar="FILE")
    convert.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="a folder that is not there"
    )
    convert.set_defaults(run=_models_convert)
    classes = actions.add_parser("classes", help="list what a GAN can draw by name")
    classes.add_argument("model", metavar="NAME|FOLDER")
    classes.add_argument("words", nargs="*", help="only classes that are called so")
    classes.set_defaults(run=_models_classes)

    frame = commands.add_parser("frame", help="make one picture")
    frame.add_argument("--generator", default="", metavar="KIND", help="who draws (default: diffusion)")
    frame.add_argument("--model", default="", metavar="NAME|PATH", help="a model of the store, or a folder")
    frame.add_argument("--prompt")
    frame.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a knob, in its own unit")
    frame.add_argument("--negative", default="", help="what it shall not be, where the model can")
    frame.add_argument("--image", type=Path, metavar="IN.png", help="start from this picture")
    frame.add_argument("--strength", type=float, default=0.5, help="how far it is made anew, 0..1 (default 0.5)")
    frame.add_argument("--steps", type=int, default=1, help="calls of the model, 1..4")
    frame.add_argument("--guidance", type=float, default=8.0, help="where the model can (default 8)")
    frame.add_argument("--seed", type=int, default=1)
    frame.add_argument("--size", default="512x512", metavar="WxH")
    frame.add_argument("--lora", action="append", default=[], metavar="FILE[:WEIGHT]", help="up to four")
    frame.add_argument("--decoder", choices=("auto", "taesd", "full"), default="auto")
    frame.add_argument("--dtype", choices=("auto", "float16", "bfloat16", "float32"), default="auto")
    frame.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    frame.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    frame.set_defaults(run=_frame)

    _add_film_commands(commands)
    _add_board_commands(commands)
    _add_notebook_commands(commands)
    _add_dream_commands(commands)

    sources = commands.add_parser("sources", help="list who sends pictures: NDI, Spout, Syphon, shared memory")
    sources.add_argument("streams", nargs="*", metavar="STREAM", help="shared-memory streams to look for besides")
    sources.add_argument("--json", action="store_true")
    sources.set_defaults(run=_sources)

    outputs = commands.add_parser("outputs", help="list what the running server sends, and every kind of output")
    outputs.add_argument("--port", type=int, default=9010, help="where the server listens to OSC (default 9010)")
    outputs.set_defaults(run=_outputs)

    frames = commands.add_parser("frames", help="look at frames as they arrive")
    verbs = frames.add_subparsers(required=True, metavar="ACTION")
    watch = verbs.add_parser("watch", help="receive, and print frames a second, age, drops and torn frames")
    watch.add_argument("source", nargs="+", metavar="KIND|OPTION=VALUE", help="such as: ndi name=vjserver")
    watch.add_argument("--seconds", type=_seconds, metavar="N")
    watch.set_defaults(run=_frames_watch)

    patch = commands.add_parser("touchdesigner", help="write the script that builds the patches in TouchDesigner")
    patch.add_argument("folder", nargs="?", type=Path, default=Path("."), help="where to (default: this folder)")
    patch.set_defaults(run=_touchdesigner)

    doctor = commands.add_parser("doctor", help="what works here, what is missing, and the line that installs it")
    doctor.add_argument("--json", action="store_true")
    doctor.add_argument("--report", action="store_true", help="write all of it, and the log, into one file to send")
    doctor.set_defaults(run=_doctor)

    completion = commands.add_parser("completion", help="print what lets a shell complete our commands")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(run=_completion)

    osc = commands.add_parser("osc", help="watch or send OSC, or print the reference of all addresses")
    verbs = osc.add_subparsers(required=True, metavar="ACTION")
    monitor = verbs.add_parser("monitor", help="print what arrives at a port")
    monitor.add_argument("--port", type=int, default=9011)
    monitor.add_argument("--host", default="127.0.0.1")
    monitor.add_argument("--seconds", type=float)
    monitor.set_defaults(run=_osc_monitor)
    send = verbs.add_parser("send", help="send one message and print the answer, if any")
    send.add_argument("address")
    send.add_argument("args", nargs="*", help="numbers are sent as numbers, anything else as text")
    send.add_argument("--port", type=int, default=9010)
    send.add_argument("--host", default="127.0.0.1")
    send.set_defaults(run=_osc_send)
    reference = verbs.add_parser("reference", help="print the reference of all addresses (Markdown)")
    reference.add_argument("--shipped", action="store_true", help="of what comes with vjserver, without plug-ins")
    reference.set_defaults(run=_osc_reference)
    return parser


def _add_film_commands(commands: Any) -> None:
    render = commands.add_parser("render", help="make a film of a song: a preset, a storyboard or a take plays to it")
    render.add_argument("song", nargs="?", type=Path, metavar="SONG", help="a sound file (a take may have its own)")
    render.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="film.mp4, .mov, .mkv, a folder"
    )
    render.add_argument("--preset", help="what plays: a preset's name or number (default: the show's, or the first)")
    render.add_argument("--show", type=Path, metavar="FILE", help="take presets, generators and inputs of this show")
    render.add_argument("--storyboard", type=Path, metavar="FILE", help="scenes: see vjserver storyboard")
    render.add_argument("--take", type=Path, metavar="FILE", help="what was played, or a score")
    render.add_argument("--size", metavar="WxH", help="default 1280x720")
    render.add_argument("--fps", metavar="N[/D]", help="frames a second (default 30); 29.97 is 30000/1001")
    render.add_argument("--from", dest="begin", metavar="T", help="from here on: 1:02.5, bar 9, part B, drop ...")
    render.add_argument("--to", dest="end", metavar="T", help="until there")
    render.add_argument("--seed", type=int, metavar="N", help="what chance is drawn from")
    render.add_argument("--stem", action="append", default=[], metavar="ROLE=FILE", help="drums, bass, vocals, other")
    render.add_argument("--draft", action="store_true", help="small and quick, with the same cuts")
    render.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw (default 1)")
    render.add_argument("--ray", metavar="ADDRESS", help="draw on a Ray cluster: auto, or HOST:PORT")
    render.add_argument(
        "--codec", default="", metavar="C", help="h264, av1, prores, prores4444, ffv1, dxv, hap, png ..."
    )
    render.add_argument("--ear", choices=("hindsight", "live"), help="live: only what the stage would have known")
    render.add_argument("--beats", type=Path, metavar="FILE", help="beats by hand: Audacity labels, CSV or JSON")
    render.add_argument("--every", type=int, default=1, metavar="N", help="draw every N-th frame (default 1) ...")
    render.add_argument(
        "--between", choices=("hold", "crossfade", "flow"), default="crossfade", help="... and so between"
    )
    render.add_argument("--json", action="store_true", help="print a summary as the last line")
    render.set_defaults(run=_render)

    loop = commands.add_parser("loop", help="make clips of presets that go on where they began, for VJ programs")
    loop.add_argument(
        "preset", nargs="+", metavar="PRESET", help="a preset's name or number, or bank:NAME for all of it"
    )
    loop.add_argument("--bars", type=int, default=8, metavar="N", help="default 8")
    loop.add_argument("--bpm", type=float, default=120.0, metavar="N", help="default 120; whole frames win")
    loop.add_argument("--size", metavar="WxH", help="default 1280x720")
    loop.add_argument("--fps", default="30", metavar="N[/D]", help="default 30")
    loop.add_argument("--codec", default="", metavar="C", help="default hap or dxv, which scrub; prores4444 has alpha")
    loop.add_argument("--show", type=Path, metavar="FILE", help="take presets and generators of this show")
    loop.add_argument("--seed", type=int, default=1, metavar="N")
    loop.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a clip.mov, or a folder")
    loop.add_argument("--json", action="store_true", help="print what was made as the last line")
    loop.set_defaults(run=_loop)

    board = commands.add_parser("storyboard", help="make, check, draw and score storyboards of films")
    board.set_defaults(run=_storyboard)
    verbs = board.add_subparsers(required=True, metavar="ACTION", dest="verb")
    verbs.add_parser("schema", help="print the JSON schema of storyboards")
    check = verbs.add_parser("check", help="check a storyboard; with a song, say when each scene begins")
    check.add_argument("file", type=Path)
    check.add_argument("--audio", type=Path, metavar="SONG")
    check.add_argument("--show", type=Path, metavar="FILE", help="take presets and inputs of this show")
    for name, what in (
        ("from-story", "a story (.txt) or a script (.fountain)"),
        ("from-lyrics", "lyrics (.lrc, .srt)"),
    ):
        verb = verbs.add_parser(name, help=f"make a storyboard of {what}, spread over a song")
        verb.add_argument("file", type=Path)
        verb.add_argument("--audio", type=Path, required=True, metavar="SONG")
        verb.add_argument("-o", "--output", type=Path, metavar="OUT.toml")
        verb.add_argument("--force", action="store_true", help="write over a storyboard that is there")
        if name == "from-lyrics":
            verb.add_argument("--titles", action="store_true", help="write the words over the picture, too")
    for name in ("from-parseq", "from-deforum"):
        verb = verbs.add_parser(name, help=f"make a storyboard of a file of {name[5:].capitalize()} (.json, .txt)")
        verb.add_argument("file", type=Path)
        verb.add_argument("-o", "--output", type=Path, metavar="OUT.toml")
        verb.add_argument("--force", action="store_true", help="write over a storyboard that is there")
    for name, what, out in (
        ("sheet", "draw every scene small, on a page", "OUT.png|OUT.pdf"),
        ("score", "write it as a take that a cue of a show plays", "OUT.jsonl"),
    ):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("file", type=Path)
        verb.add_argument("--audio", type=Path, required=True, metavar="SONG")
        verb.add_argument("--show", type=Path, metavar="FILE", help="take presets and inputs of this show")
        verb.add_argument("-o", "--output", type=Path, required=True, metavar=out)
    marks = verbs.add_parser("markers", help="write parts, drops and scenes for an editing program")
    marks.add_argument("file", type=Path, nargs="?", help="a storyboard (default: only what is heard)")
    marks.add_argument("--audio", type=Path, required=True, metavar="SONG")
    marks.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.csv|.edl|.xml|.txt")
    marks.add_argument("--show", type=Path, metavar="FILE", help="take presets and inputs of this show")
    marks.add_argument("--fps", default="30", metavar="N[/D]")
    marks.add_argument("--bars", action="store_true", help="every bar too")


def _add_board_commands(commands: Any) -> None:
    board = commands.add_parser("board", help="cards of what was said or typed: list, add, draw, export, open the page")
    board.set_defaults(run=_board)
    verbs = board.add_subparsers(required=True, metavar="ACTION", dest="verb")
    verbs.add_parser("list", help="list all boards")
    show = verbs.add_parser("show", help="print the cards of a board")
    show.add_argument("board")
    show.add_argument("--json", action="store_true", help="one JSON line a card")
    new = verbs.add_parser("new", help="make a board")
    new.add_argument("name")
    new.add_argument("--style", default="", help="stands behind every text: 'woodcut, deep shadows'")
    add = verbs.add_parser("add", help="add cards, whose pictures the studio makes")
    add.add_argument("board")
    add.add_argument("text", nargs="+")
    add.add_argument("--generator", default="", metavar="KIND", help="who draws (default: from words alone)")
    add.add_argument("--model", default="", metavar="NAME")
    add.add_argument("--seed", type=int, default=1)
    render = verbs.add_parser("render", help="make every picture that cards want")
    render.add_argument("--size", metavar="WxH", help="default: that of the show")
    render.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")
    export = verbs.add_parser("export", help="write a board as a PDF, a film, a storyboard, a folder")
    export.add_argument("board")
    export.add_argument("kind", choices=("pdf", "film", "storyboard", "storyboarder", "pictures"))
    export.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a file, or a new folder")
    export.add_argument("--per-page", type=int, default=6, metavar="N", help="pdf: 1, 2, 4, 6 or 9 cards a page")
    export.add_argument("--font-size", type=float, default=10.0, metavar="PT", help="pdf: default 10")
    export.add_argument("--seconds", type=_seconds, default=4.0, metavar="N", help="so long stands a card (default 4)")
    export.add_argument("--size", metavar="WxH", help="film: default 1280x720")
    export.add_argument("--no-captions", action="store_true", help="film: captions in the .srt file only")
    export.add_argument("--zip", action="store_true", help="a folder as one .zip file")
    take = verbs.add_parser("import", help="take in a script (.fountain), or a folder that export pictures wrote")
    take.add_argument("path", type=Path)
    for verb in (export, take):
        verb.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a show asks for it
    delete = verbs.add_parser("delete", help="delete a board: cards, pictures, sounds; nothing of it is left")
    delete.add_argument("board", nargs="?", default="")
    delete.add_argument("--everything", action="store_true", help="all boards")
    page = verbs.add_parser("open", help="the page of boards, without a show")
    page.add_argument("--port", type=int, default=9022)
    page.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")


def _add_notebook_commands(commands: Any) -> None:
    notebook = commands.add_parser("notebook", help="words that you miss in a language that you learn: note, review")
    notebook.set_defaults(run=_notebook)
    verbs = notebook.add_subparsers(required=True, metavar="ACTION", dest="verb")
    read = verbs.add_parser("read", help="note the words of your own language in a text of the one that you learn")
    read.add_argument("file", type=Path)
    hear = verbs.add_parser("hear", help="note them in a recording in which you talk")
    hear.add_argument("file", type=Path)
    record = verbs.add_parser("record", help="talk into a microphone (Enter ends it); the words are noted after")
    _add_microphone_options(record)
    for verb in (read, hear, record):
        verb.add_argument("--learn", required=True, metavar="L", help="the language that you learn: es, fr, de ...")
        verb.add_argument("--own", required=True, metavar="L", help="your own: en ...")
    for verb in (hear, record):
        verb.add_argument("--keep-sound", action="store_true", help="keep the sound of sentences with such a word")
    finish = verbs.add_parser("finish", help="listen to recordings, and draw pictures, that wait")
    finish.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a page asks for it
    draw = verbs.add_parser("draw", help="have words drawn (default: all that have no picture)")
    draw.add_argument("word", nargs="*")
    draw.add_argument("--generator", default="", metavar="KIND", help="who draws (default: from words alone)")
    draw.add_argument("--model", default="", metavar="NAME")
    for verb in (record, finish, draw):
        _add_drawing_options(verb)
    page = verbs.add_parser("open", help="the pages of the notebook and the journal, for you alone")
    _add_pages_options(page)
    listing = verbs.add_parser("list", help="list the words, those most often missed first")
    listing.add_argument("--json", action="store_true", help="one JSON line a word")
    gloss = verbs.add_parser("gloss", help="say what a word means")
    gloss.add_argument("word")
    gloss.add_argument("meaning")
    verbs.add_parser("review", help="be asked for the words that are due")
    export = verbs.add_parser("export", help="write the words as CSV, or as a package for Anki")
    export.add_argument("kind", choices=("csv", "anki"))
    export.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.csv|.apkg")
    export.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)
    for verb in (listing, export):
        verb.add_argument("--learn", default="", metavar="L", help="only words missed in this language")
        verb.add_argument("--own", default="", metavar="L", help="only words of this language")
    delete = verbs.add_parser("delete", help="delete a word and its sentences; nothing of it is left")
    delete.add_argument("word", nargs="?", default="")
    delete.add_argument("--everything", action="store_true", help="all words")


def _add_dream_commands(commands: Any) -> None:
    dream = commands.add_parser("dream", help="a private journal of dreams: write, hear, search, take away")
    dream.set_defaults(run=_dream)
    verbs = dream.add_subparsers(required=True, metavar="ACTION", dest="verb")
    write = verbs.add_parser("write", help="keep a dream: typed here, or from the standard input")
    write.add_argument("text", nargs="*")
    hear = verbs.add_parser("hear", help="keep a dream that was said into a recording (a whisper counts)")
    hear.add_argument("file", type=Path)
    record = verbs.add_parser("record", help="record a dream from a microphone (Enter ends it), then write it down")
    record.add_argument("--device", metavar="NAME", help="which microphone: part of its name, or its number")
    record.add_argument(
        "--seconds", type=_seconds, default=3600.0, metavar="N", help="at most so long (default: an hour)"
    )
    record.add_argument("--later", action="store_true", help="only record: vjserver dream finish writes it down")
    record.add_argument("--keep-sound", action="store_true", help="keep the recording when it is written down")
    for verb in (write, hear):
        verb.add_argument("--title", default="", help="default: the most telling sentence")
        verb.add_argument("--tag", action="append", default=[], metavar="TAG")
        verb.add_argument("--mood", default="")
        verb.add_argument("--lucidity", type=int, default=0, metavar="0..5", help="how much you knew that you dreamt")
    for verb in (write, hear, record):
        verb.add_argument("--when", default="", metavar="DAY", help="2026-11-27, or with a time (default: now)")
        verb.add_argument("--language", default="", metavar="L", help="such as en or es")
    finish = verbs.add_parser("finish", help="write down recordings, and draw pictures, that wait")
    listing = verbs.add_parser("list", help="list dreams, the newest first")
    show = verbs.add_parser("show", help="print a dream, and its most telling sentences")
    change = verbs.add_parser("change", help="change what a dream is called, its day, mood, tags or text")
    change.add_argument("--title", default="")
    change.add_argument("--tag", action="append", metavar="TAG", help="all its tags anew; an empty one takes them away")
    change.add_argument("--mood")
    change.add_argument("--lucidity", type=int, metavar="0..5")
    change.add_argument("--when", default="", metavar="DAY")
    change.add_argument("--language", metavar="L")
    change.add_argument("--text")
    verbs.add_parser("signs", help="words that return in three dreams or more")
    calendar = verbs.add_parser("calendar", help="how many dreams each day had")
    calendar.add_argument("year", nargs="?", default="")
    draw = verbs.add_parser("draw", help="have the most telling sentences of a dream drawn")
    draw.add_argument("--count", type=int, default=3, metavar="N", help="so many sentences (default 3)")
    draw.add_argument("--seed", type=int)
    paper = verbs.add_parser("pdf", help="write a dream, or all of them, as a PDF")
    paper.add_argument("dream", nargs="?", default="", metavar="NUMBER")
    paper.add_argument("--font-size", type=float, default=11.0, metavar="PT", help="default 11")
    export = verbs.add_parser("export", help="write all dreams into a folder, with pictures and sound")
    take = verbs.add_parser("import", help="take in a folder that export wrote")
    take.add_argument("folder", type=Path)
    mint = verbs.add_parser("mint", help="write one dream with its hash, the time and a licence")
    mint.add_argument("--licence", default="All rights reserved", help="default: all rights reserved")
    for verb in (show, change, draw, mint):
        verb.add_argument("dream", metavar="NUMBER", help="or its first four signs")
    for verb in (listing, paper):
        verb.add_argument("--search", default="", metavar="WORDS")
        verb.add_argument("--tag", default="")
    for verb, out in ((paper, "OUT.pdf"), (export, "FOLDER"), (mint, "FOLDER")):
        verb.add_argument("-o", "--output", type=Path, required=True, metavar=out)
    page = verbs.add_parser("open", help="the pages of the journal and the notebook, for you alone")
    _add_pages_options(page)
    for verb in (draw, finish):
        _add_drawing_options(verb)
    draw.add_argument("--generator", default="", metavar="KIND", help="who draws (default: from words alone)")
    draw.add_argument("--model", default="", metavar="NAME")
    for verb in (finish, paper):
        verb.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a page asks for it
    delete = verbs.add_parser("delete", help="delete a dream; nothing of it is left")
    delete.add_argument("dream", nargs="?", default="")
    delete.add_argument("--everything", action="store_true", help="all dreams")


def _add_microphone_options(record: argparse.ArgumentParser) -> None:
    record.add_argument("--device", metavar="NAME", help="which microphone: part of its name, or its number")
    record.add_argument("--seconds", type=_seconds, default=3600.0, metavar="N", help="at most so long (an hour)")


def _add_pages_options(page: argparse.ArgumentParser) -> None:
    page.add_argument("--port", type=int, default=9023, metavar="N")
    page.add_argument("--keep-sound", action="store_true", help="keep recordings when they are written down")
    page.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")


def _add_drawing_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--size", metavar="WxH", help="default: that of the show")
    verb.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")


def _dream(args: argparse.Namespace) -> int:
    from vjserver.app.dream import run

    return run(args)


def _notebook(args: argparse.Namespace) -> int:
    from vjserver.app.notebook import run

    return run(args)


def _board(args: argparse.Namespace) -> int:
    from vjserver.app.boards import run

    return run(args)


def _render(args: argparse.Namespace) -> int:
    from vjserver.app.render import run

    return run(args)


def _loop(args: argparse.Namespace) -> int:
    from vjserver.app.loop import run

    return run(args)


def _storyboard(args: argparse.Namespace) -> int:
    from vjserver.app.storyboard import run

    return run(args)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="listen to this audio input (part of its name, or its index)")
    parser.add_argument(
        "--source", choices=("device", "click"), help="listen to the default device, or to a click track"
    )
    parser.add_argument("--preset", help="begin with this preset (name or number)")
    parser.add_argument("--size", metavar="WxH", help="picture size, such as 1280x720")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop after N seconds")
    parser.add_argument("--json", action="store_true", help="print a summary as the last line")
    parser.add_argument(
        "--port-base", type=int, metavar="N", help="move all ports so that OSC is at N, beside another server"
    )
    parser.add_argument(
        "--lan", metavar="INTERFACE", help="let its network play: OSC from there, and the panel with a token"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0.0:
        raise argparse.ArgumentTypeError(f"must be above 0: got {text}")
    return seconds


def _lan(args: argparse.Namespace) -> "Lan | None":
    if args.lan is None:
        return None
    from vjserver.app.lan import lan_of

    return lan_of(args.lan)


def _overridden(show: "Show", args: argparse.Namespace) -> "Show":
    """Return the show with the command line's options in place of the file's. Raises ConfigError."""
    from pydantic import ValidationError

    from vjserver.app.show import shifted
    from vjserver.types.errors import ConfigError

    if args.port_base is not None:
        show = shifted(show, args.port_base)
    changed = show.model_dump()
    if args.device is not None:
        changed["source"] = {"kind": "device", "name": args.device}
    elif args.source is not None:
        changed["source"] = {"kind": args.source}
    if args.preset is not None:
        changed["preset"] = args.preset
    if args.size is not None:
        width, _, height = args.size.lower().partition("x")
        if not (width.isdigit() and height.isdigit()):
            raise ConfigError(f"--size must be WIDTHxHEIGHT, such as 1280x720: got {args.size!r}")
        changed["video"] |= {"width": int(width), "height": int(height)}
    try:
        found = type(show).model_validate(changed)
        if args.device is not None:
            _check_device(args.device)
        return found
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}: got {fault['input']!r}") from None


def _check_device(name: str) -> None:
    """Raise DeviceError, naming what there is, for an audio input that was typed and is not there."""
    from vjserver.sources.device import choose, devices

    choose(devices(), name)


def _help(args: argparse.Namespace) -> int:
    """Print what can be typed; with a command, what that takes."""
    words = getattr(args, "command", [])
    if words:
        _parser().parse_args([*words, "--help"])  # prints, and ends: with 2 where there is no such command
    _parser().print_help()
    print("\nbegin with:  vjserver demo      then:  vjserver doctor, vjserver init, vjserver run")
    return 0


def _run(args: argparse.Namespace) -> int:
    from vjserver.app.run import run_show
    from vjserver.app.show import load_show, own_show

    path = args.show or own_show()
    if path is not None and args.show is None:
        print(f"show: {path}", file=sys.stderr)
    return run_show(_overridden(load_show(path), args), args.seconds, args.json, _lan(args))


def _init(args: argparse.Namespace) -> int:
    from vjserver.app.init import write_show

    path = write_show(args.path)
    print(f"{path}\nEdit it in any text editor, then: vjserver run" + (f" {path}" if args.path else ""))
    return 0


def _completion(args: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(_parser(), shell=args.shell))
    return 0


def _demo(args: argparse.Namespace) -> int:
    from platformdirs import user_cache_path

    from vjserver.app.run import run_show
    from vjserver.app.show import Show
    from vjserver.sources.song import write_song

    song = user_cache_path("vjserver", appauthor=False) / "demo-song-1.flac"
    if args.device is None and args.source is None and not song.exists():
        print("making the demo's song ...", file=sys.stderr)
        write_song(song)
    show = Show.model_validate({"source": {"kind": "file", "path": song}})
    return run_show(_overridden(show, args), args.seconds, args.json, _lan(args))


def _ear(args: argparse.Namespace) -> int:
    from vjserver.app.ear_view import Record, check_plot, plot
    from vjserver.app.offline import hear_device, hear_file
    from vjserver.app.show import load_show
    from vjserver.types.errors import ConfigError

    if (args.file is None) == (args.device is None):
        raise ConfigError("ear takes a sound FILE or --device NAME, one of them")
    if args.plot is not None:
        check_plot(args.plot)
    record = Record() if args.plot is not None else None
    options = load_show(args.show).ear
    if args.file is not None:
        rows, title = hear_file(args.file, options, record), args.file.name
    else:
        rows, title = hear_device(args.device, args.seconds, options, record), f"audio input {args.device}"
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            rest = "  ".join(f"{k} {v}" for k, v in row.items() if k not in ("event", "t_s", "sent_s", "beat"))
            print(f"{row['t_s']:9.3f} s  {row['event']:9s} {rest}", flush=args.device is not None)
    if record is not None:
        plot(record, title, args.plot)
    return 0


def _speech(args: argparse.Namespace) -> int:
    from vjserver.app.show import load_show
    from vjserver.app.speech import hear_device, hear_file
    from vjserver.types.errors import ConfigError

    if (args.file is None) == (args.device is None):
        raise ConfigError("speech takes a sound FILE or --device NAME, one of them")
    options = load_show(args.show).speech
    if args.model:
        options = options.model_copy(update={"recogniser": {**options.recogniser, "model": args.model}})
    language = args.language or options.language
    rows = (
        hear_file(args.file, options, language)
        if args.file is not None
        else hear_device(args.device, args.seconds, options, language)
    )
    for row in rows:
        if args.json:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            phrase = f"   -> {row['phrase']}" if row["phrase"] else ""
            print(f"{row['sent_s']:8.2f} s  {row['event']:8s} {row['text']}{phrase}", flush=True)
    return 0


def _devices(_args: argparse.Namespace) -> int:
    from vjserver.sources.device import devices

    found = devices()
    for device in found:
        mark = "*" if device.default else " "
        loop = "  [loopback: hears what this machine plays]" if device.loopback else ""
        row = f"{device.name}  ({device.api}, {device.channels} channels, {device.rate_hz} Hz)"
        print(f"{mark} {device.index:3d}  {row}{loop}")
    if not found:
        print("no audio input on this machine; vjserver demo, or run --source click, works without one")
    return 0


def _presets_list(args: argparse.Namespace) -> int:
    from vjserver.app.show import load_bank

    for number, (slug, preset) in enumerate(load_bank(args.folder).presets, start=1):
        print(f"{number:3d}  {slug:24s} {preset.name:22s} {preset.description}")
    return 0


def _presets_schema(_args: argparse.Namespace) -> int:
    from vjserver.show.preset import Preset

    print(json.dumps(Preset.model_json_schema(by_alias=True), indent=2))
    return 0


def _presets_check(args: argparse.Namespace) -> int:
    from vjserver.app.show import check_preset, load_bank
    from vjserver.runtime.installed import installed

    if not args.files:
        bank = load_bank()
        idle = [f"{slug}: {row}" for slug, preset in bank.presets for row in preset.idle(installed())]
        print("\n".join([*bank.faults.values(), *idle, f"{len(bank.presets)} presets are sound"]))
        return 1 if bank.faults else 0
    faults = 0
    for path in args.files:
        try:
            preset = check_preset(path)
        except VJError as error:
            faults += 1
            print(error)
        else:
            print("\n".join([f"{path}: sound ({preset.name})", *(f"  {row}" for row in preset.idle(installed()))]))
    return 1 if faults else 0


def _presets_show(args: argparse.Namespace) -> int:
    from vjserver.app.show import load_bank

    number, preset = load_bank(args.folder).find(args.name)
    print(f"{number + 1}  {preset.name}: {preset.description}\n  generator {preset.generator}, seed {preset.seed}")
    for prompt in preset.prompts:
        print(f"  prompt  {prompt.weight:4.2f}  {prompt.text}")
    for name, value in preset.params.items():
        print(f"  param   {value:4.2f}  {name}")
    for name, value in preset.raw.items():
        print(f"  raw     {value:g}  {name}")
    for m in preset.mappings:
        print(f"  mapping {m.source} -> {m.to} [{m.range[0]:g}, {m.range[1]:g}] {m.curve} {m.mode}")
    for t in preset.triggers:
        print(f"  trigger every {t.every} {t.on}: {t.do} {' '.join(map(str, t.args))}")
    if args.png is not None:
        from vjserver.app.offline import draw_preset

        draw_preset(preset, args.png)
        print(f"drawn into {args.png}")
    return 0


def _models_list(_args: argparse.Namespace) -> int:
    from vjserver.generators.store import FAMILIES, GANS, KNOWN, models, store_folder

    here = models()
    for model in here:
        ran = "has run here" if model.has_run else "has not run here yet"
        row = f"here  {model.name:20s} {model.size / 1e9:6.2f} GB  {model.licence:32s} {model.kind}, {ran}"
        print(f"{row}; {model.source}")
    for name, known in KNOWN.items():
        if name not in {model.name for model in here}:
            print(f"pull  {name:20s} {known.gigabytes:6.2f} GB  {known.licence:32s} {known.what}")
    for name, family in FAMILIES.items():
        print(f"\n{name} ({family.plays}): {family.what}")
        print(f"    licence: {family.licence}. For money? {family.commercial}")
        print(f"    about {family.gigabytes:g} GB of a card; from {family.where}")
        converted = "vjserver models convert FILE -o FOLDER, and " if name in (*GANS, "VQGAN") else ""
        print(f"    then: {converted}vjserver models add FOLDER")
    print(f"in {store_folder()}")
    return 0


def _models_pull(args: argparse.Namespace) -> int:
    from vjserver.generators.store import KNOWN, pull

    if args.name in KNOWN:
        known = KNOWN[args.name]
        print(f"{args.name}: about {known.gigabytes:g} GB from {known.repository}, licence: {known.licence}")
    model = pull(args.name)
    print(f"{model.name} is here: {model.size / 1e9:.2f} GB, {len(model.files)} files, in {model.folder}")
    return 0


def _models_add(args: argparse.Namespace) -> int:
    from vjserver.generators.store import add

    model, remarks = add(args.path, args.name, args.licence)
    for remark in remarks:
        print(remark)
    print(f"{model.name} is here: {model.size / 1e9:.2f} GB, licence: {model.licence}, in {model.folder}")
    return 0


def _models_verify(args: argparse.Namespace) -> int:
    from vjserver.generators.store import models, verify
    from vjserver.types.errors import ConfigError, nearest

    here = {model.name: model for model in models()}
    for name in args.names:
        if name not in here:
            raise ConfigError(f"no model {name!r} is here{nearest(name, here)}; here: {', '.join(here) or 'none'}")
    faults = 0
    for name in args.names or here:
        found = verify(here[name])
        faults += len(found)
        print("\n".join(found) if found else f"{name}: whole, {len(here[name].files)} files")
    return 1 if faults else 0


def _models_convert(args: argparse.Namespace) -> int:
    from vjserver.generators.gan.convert import convert

    print(f"{args.output}: {convert(args.file, args.output)}")
    print(
        f'play it as it is, [generators.gan] model = "{args.output}", or take it in: vjserver models add {args.output}'
    )
    return 0


def _models_classes(args: argparse.Namespace) -> int:
    from vjserver.generators.gan.classes import classes_of

    for number, name in classes_of(args.model, " ".join(args.words)):
        print(f"{number:4d}  {name}")
    return 0


def _frame(args: argparse.Namespace) -> int:
    from vjserver.app.frame import make_frame

    print(make_frame(args))
    return 0


def _sources(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from vjserver.app.frames import senders

    found, remarks = senders(tuple(args.streams))
    for sender in found:
        size = f"{sender.size[0]}x{sender.size[1]}" if sender.size[0] else "no picture"
        row = f"{sender.kind:10s} {sender.name:36s} {size:>11s} {sender.fps:6.1f} frames/s   {sender.how}"
        print(json.dumps(asdict(sender)) if args.json else row)
    for remark in remarks:
        print(remark, file=sys.stderr)
    if not found and not args.json:
        print("nobody sends pictures here")
    return 0


def _outputs(args: argparse.Namespace) -> int:
    from vjserver.app.frames import output_kinds
    from vjserver.app.osc_tools import ask_outputs

    running = ask_outputs(args.port)
    for label, state, fps, drops, receivers, tally, config in running:
        known = f"{receivers} receiver(s)" if receivers >= 0 else ""
        print(f"{label:12s} {state:6s} {fps:6.1f} frames/s  {drops} dropped  {known} {tally}  {config}".rstrip())
    if not running:
        print(f"no server answers at port {args.port}: start one with vjserver run, or name its OSC --port")
    print("\nkinds (open one live: vjserver osc send /vj/output/add LABEL 'KIND option=value ...'):")
    for kind, here, options in output_kinds():
        print(f"  {kind:10s} {here:32s} {options}")
    return 0 if running else 1


def _frames_watch(args: argparse.Namespace) -> int:
    from vjserver.app.frames import watch

    for line in watch(args.source, args.seconds):
        print(line, flush=True)
    return 0


def _touchdesigner(args: argparse.Namespace) -> int:
    from vjserver.app.touchdesigner import write_patch

    path = write_patch(args.folder).as_posix()
    print(f"{path}\n\nIn TouchDesigner: Dialogs > Textport and DATs, paste one of these lines and press Enter:\n")
    print(f"  exec(open({path!r}).read())")
    for name in ("beat_compositor", "img2img_loop", "two_decks"):
        print(f"  PATCH = '{name}'; exec(open({path!r}).read())")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from vjserver.app.doctor import examine

    checks = examine()
    if args.report:
        from vjserver.app.report import write_report

        print(
            f"{write_report(checks)}\nIt holds no prompts and no names of your folders; look at it before you send it."
        )
        return 0
    if args.json:
        print(json.dumps([check.as_row() for check in checks]))
    else:
        for check in checks:
            print(f"{check.mark}  {check.name:18s} {check.found}")
            if check.remedy:
                print(f"    {'':18s} -> {check.remedy}")
    return 1 if any(check.needed and not check.works for check in checks) else 0


def _osc_monitor(args: argparse.Namespace) -> int:
    from vjserver.app.osc_tools import monitor

    return monitor(args.host, args.port, args.seconds)


def _osc_send(args: argparse.Namespace) -> int:
    from vjserver.app.osc_tools import send

    return send(args.host, args.port, args.address, args.args)


def _osc_reference(args: argparse.Namespace) -> int:
    from vjserver.app.osc_tools import reference
    from vjserver.runtime.installed import installed, shipped

    print(reference(shipped() if args.shipped else installed()), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
