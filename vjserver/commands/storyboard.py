"""vjserver storyboard: stories, lyrics, files of other programs become storyboards; sheets, scores, markers of them."""

import argparse
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from vjserver.app.film_order import Order, Ready, check_not_source, prepared
from vjserver.app.show import LARGEST, decoded
from vjserver.dsp.options import EarOptions
from vjserver.films import hearings, markers, sheet
from vjserver.films.compiled import Board, Placed
from vjserver.films.lyrics import board_of_lyrics, read_lyrics
from vjserver.films.places import Places, clock, rate_of
from vjserver.films.planning import planned
from vjserver.films.schedules import board_of_deforum, board_of_parseq
from vjserver.films.segment import still
from vjserver.films.song import Song
from vjserver.films.story import board_of, read_story
from vjserver.films.storyboard import Storyboard, read_storyboard
from vjserver.runtime.files import put
from vjserver.runtime.installed import installed
from vjserver.show.take import head, line
from vjserver.stages.offline.hearing import Hearing
from vjserver.types.errors import ConfigError

SHEET_SIZE, SHEET_FPS, LEAD_S = "480x270", "10", 1.5
HEADER = """# {what}
# Play it: vjserver render SONG --storyboard {name} -o film.mp4
# See it: vjserver storyboard sheet {name} --audio SONG -o sheet.png

"""
Say = Callable[[str], None]


def places_of(audio: Path, say: Say) -> Places:
    """Return the places of a song, heard now or before. Raises VJError."""
    song = Song.open(audio)
    told: set[int] = set()

    def progress(share: float) -> None:
        if (step := int(share * 4)) not in told:
            told.add(step)
            say(f"listening ... {share:.0%}")

    return Places(Hearing.load(hearings.heard(song, EarOptions(), "hindsight", None, progress)))


def from_story(path: Path, audio: Path, output: Path, say: Say) -> None:
    """Write the storyboard of a story, or of a script in Fountain. Raises VJError."""
    story = _told_of(path, lambda text: read_story(text, path.suffix.lower() in (".fountain", ".spmd")))
    board, left = board_of(story, places_of(audio, say))
    if left:
        say(f"{len(left)} of {len(story.passages)} sentences have no scene of their own, such as: {left[0]}")
    _write(board, f"{path.name}, on {audio.name}", output, say)


def from_lyrics(path: Path, audio: Path, output: Path, titles: bool, say: Say) -> None:
    """Write the storyboard of lyrics. Raises VJError."""
    lyrics = _told_of(path, read_lyrics)
    places = places_of(audio, say)
    late = [line.words for line in lyrics.lines if line.words and line.begin_s >= places.seconds]
    if late:
        say(f"{len(late)} lines begin after the song's end ({clock(places.seconds)}), such as: {late[0]}")
    _write(board_of_lyrics(lyrics, places, titles), f"{path.name}, on {audio.name}", output, say)


def from_schedule(path: Path, output: Path, kind: str, say: Say) -> None:
    """Write the storyboard of a Parseq or Deforum file. Raises VJError."""
    reader = board_of_parseq if kind == "parseq" else board_of_deforum
    board, fps, lost = reader(_text(path), str(path))
    for why in lost:
        say(why)
    what = f"{path.name}, from {kind.capitalize()}: its own rate is --fps {Fraction(fps).limit_denominator(1001)}"
    _write(board, what, output, say)


def _told_of(path: Path, read: Callable[[str], Any]) -> Any:
    """Read a file; a fault is told with its name."""
    text = _text(path)
    try:
        return read(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > 16 * LARGEST:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes, and at most {16 * LARGEST} are read")
        return decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _write(board: dict[str, Any], what: str, output: Path, say: Say) -> None:
    plain = {key: value for key, value in board.items() if value not in ("", {}) or key == "style"}
    try:
        Storyboard.model_validate(plain, context={"registry": installed()})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"no storyboard can be made of it: {place}: {fault['msg']}") from None
    text = HEADER.format(what=what, name=output.name) + tomlkit.dumps(plain)
    try:
        put(output, text.encode())
    except UnicodeEncodeError:
        raise ConfigError("there is a broken character in it: save the file as UTF-8") from None
    say(f"{output}: {len(board['scenes'])} scenes")


def placed(board: Path, audio: Path, show: Path | None, say: Say, on_stage: bool = False) -> tuple[Ready, Board]:
    """Return a storyboard on a song, and as a small film that can be asked for single pictures. Raises VJError."""
    order = Order(audio, Path("sheet.mkv"), storyboard=board, show=show, fps=SHEET_FPS, size=SHEET_SIZE, codec="ffv1")
    ready = prepared(order, say, on_stage)
    assert ready.board is not None
    return ready, ready.board


def draw_sheet(board: Path, audio: Path, show: Path | None, output: Path, say: Say) -> None:
    """Draw every scene small, with its time, its bars and its words. Raises VJError."""
    if output.suffix.lower() not in (".png", ".pdf"):
        raise ConfigError(f"a sheet is a .png or a .pdf: got {output.name!r}")
    ready, on_song = placed(board, audio, show, say)
    film, places = ready.film, Places(ready.hearing)
    cells = []
    for one in on_song.scenes:
        middle = film.frame_at(round((one.begin_s + one.end_s) / 2 * 1e9))
        begin = film.frame_at(round(one.begin_s * 1e9))
        lead = min(middle - begin, round(LEAD_S * film.rate))
        pixels = still(film, begin, lead, min(middle, film.last - 1), lambda *_: None)[..., :3]
        cells.append(sheet.Cell(pixels, _head(one, places), _words(one)))
        say(f"scene {one.number} of {len(on_song.scenes)}")
    sheet.draw(output, on_song.title or board.stem, cells)
    say(f"{output}: {len(cells)} scenes")


def _head(one: Placed, places: Places) -> str:
    bar = places.bar_at(one.begin_s)
    head = f"{one.number}  {clock(one.begin_s)}" + (f"  bar {bar}" if bar else "")
    return head if one.title.rstrip(" .") in _words(one) else f"{head}  {one.title}"


def _words(one: Placed) -> str:
    return " · ".join(text for text in one.look.texts if text) or one.look.preset_name


def write_score(board: Path, audio: Path, show: Path | None, output: Path, say: Say) -> None:
    """Write a storyboard as a score take, which a cue of a show plays. Raises VJError."""
    _, on_song = placed(board, audio, show, say, on_stage=True)
    take = on_song.take
    data = head(take.state, take.seed, score=True) + b"".join(line(row, 0) for row in take.rows)
    put(output, data)
    say(f'{output}: {len(on_song.scenes)} scenes; in a show file: [[cues]] id = "film", take = "{output.stem}"')
    for name, path in on_song.inputs.items():
        say(f'and [inputs.{name}] kind = "file", path = "{path}"')


def write_markers(
    audio: Path, board: Path | None, show: Path | None, output: Path, fps: str, bars: bool, say: Say
) -> None:
    """Write scenes, parts, drops (and bars) as markers for other programs. Raises VJError."""
    if output.suffix.lower() not in markers.WRITERS:
        markers.write([], output, "", Fraction(30))  # says what is allowed
    places = places_of(audio, say)
    rows = [
        markers.Marker(part.begin_s, part.end_s - part.begin_s, "part", f"Part {part.label}") for part in places.parts
    ]
    rows += [markers.Marker(at, 0.0, "drop", "Drop") for at in places.drops]
    if bars:
        rows += [markers.Marker(at, 0.0, "bar", f"Bar {i}") for i, at in enumerate(places.bars, 1)]
    if board is not None:
        _, on_song = placed(board, audio, show, say)
        rows += [markers.Marker(s.begin_s, s.end_s - s.begin_s, "scene", s.title) for s in on_song.scenes]
    text, count = markers.write(rows, output, output.stem, rate_of(fps))
    put(output, text.encode())
    say(f"{output}: {count} markers")


def check(board: Path, audio: Path | None, show: Path | None, say: Say) -> None:
    """Read a storyboard; with a song, place it there and try its expressions all along. Raises ConfigError."""
    registry = installed()
    read = read_storyboard(board, registry)
    if audio is not None:
        ready, on_song = placed(board, audio, show, say)
        for one in on_song.scenes:
            print(f"{clock(one.begin_s):>9}  {one.title}")
        for note in ready.notes:
            say(note)
        planned(ready.film, lambda what, why, recovered: None if recovered else say(f"{what}: {why}"))
    print(f"{board}: {len(read.scenes)} scenes, well formed")


def arguments(storyboard: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver storyboard`` takes."""
    verbs = storyboard.add_subparsers(required=True, metavar="ACTION", dest="verb")
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


def run(args: argparse.Namespace) -> int:
    """Run ``vjserver storyboard``."""
    output: Any = getattr(args, "output", None)
    show: Path | None = getattr(args, "show", None)
    if args.verb.startswith("from-"):
        output = output or args.file.with_suffix(".toml")
        if output.exists() and not args.force:
            raise ConfigError(f"{output} is there, and may be your work: give another -o, or --force to write over it")
    if output is not None:
        check_not_source(output, getattr(args, "file", None), getattr(args, "audio", None))

    def say(row: str) -> None:
        print(row, file=sys.stderr, flush=True)

    match args.verb:
        case "schema":
            print(json.dumps(Storyboard.model_json_schema(), indent=2))
        case "check":
            check(args.file, args.audio, show, say)
        case "from-story":
            from_story(args.file, args.audio, output, say)
        case "from-lyrics":
            from_lyrics(args.file, args.audio, output, args.titles, say)
        case "from-parseq" | "from-deforum":
            from_schedule(args.file, output, args.verb.removeprefix("from-"), say)
        case "sheet":
            draw_sheet(args.file, args.audio, show, output, say)
        case "score":
            write_score(args.file, args.audio, show, output, say)
        case "markers":
            write_markers(args.audio, args.file, show, output, args.fps, args.bars, say)
    return 0
