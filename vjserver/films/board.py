"""A board as a film: cards one after another, with what was said and captions; and as a storyboard for ``render``."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile
import tomlkit
from pydantic import ValidationError

from vjserver.films import join
from vjserver.films.codecs import codec_of, writer
from vjserver.films.film import Title
from vjserver.films.song import Song
from vjserver.films.storyboard import Storyboard
from vjserver.films.titles import Titles
from vjserver.keeping.cards import Board, Card
from vjserver.runtime.files import put
from vjserver.show.registry import Registry
from vjserver.speech.subtitles import stamp
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Pixels

SECONDS, PAUSE_S, FADE_S = 4.0, 0.6, 0.4
"""So long a card stands; where somebody speaks, until he has spoken and a breath longer."""
DRIFT = 0.06
"""How much nearer the camera comes to a card."""
VOICE_HZ = 48000
HEADER = """# {name}: {count} cards of a board.
# Play it: vjserver render SONG --storyboard {file} -o film.mp4

"""
Media = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True)
class Shot:
    """A card in the film, from ``begin_s`` to ``end_s``."""

    card: Card
    begin_s: float
    end_s: float


def shots_of(cards: Sequence[Card], seconds: float = SECONDS) -> list[Shot]:
    """Return when each card is seen; one without a picture is left out. Raises ConfigError where none has one."""
    shots, at = [], 0.0
    for card in cards:
        if card.chosen is not None:
            end = at + max(seconds, card.sound_s + PAUSE_S if card.sound else 0.0)
            shots.append(Shot(card, at, end))
            at = end
    if not shots:
        raise ConfigError("no card of this board has a picture: let the studio make them first")
    return shots


def storyboard_of(board: Board, cards: Sequence[Card], registry: Registry, seconds: float = SECONDS) -> dict[str, Any]:
    """Return a board as a storyboard: a scene a card, its seed, generator and length; the board's style and cast.

    Pictures of the cast are called ``cast-1.jpg`` and so on. Raises ConfigError.
    """
    scenes = []
    for card in cards:
        version = card.chosen
        scene: dict[str, Any] = {
            "name": card.text[:60], "prompts": [card.text], "lasts": f"{max(seconds, card.sound_s + PAUSE_S):.2f}",
            "titles": [{"text": card.text[:300], "at": 0.2, "lasts": max(1.0, seconds - 0.4)}],
        }  # fmt: skip
        if version is not None:
            scene["seed"] = version.seed
            if version.generator in registry.infos:
                scene |= {"generator": version.generator} | ({"model": version.model} if version.model else {})
        scenes.append(scene)
    if not scenes:
        raise ConfigError("this board has no cards")
    cast = {
        one.name: {"look": one.look} | ({"picture": f"cast-{i}.jpg"} if one.picture else {})
        for i, one in enumerate(board.cast, 1)
    }
    whole: dict[str, Any] = {"title": board.name, "style": board.style, "negative": board.negative}
    whole = {key: value for key, value in whole.items() if value}
    whole |= ({"cast": cast} if cast else {}) | {"scenes": scenes}
    try:
        Storyboard.model_validate(whole, context={"registry": registry})
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(
            f"no storyboard can be made of it: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        ) from None
    return whole


def write_storyboard(
    board: Board, cards: Sequence[Card], media: Media, registry: Registry, path: Path, seconds: float = SECONDS
) -> None:
    """Write a board as ``storyboard.toml``, the cast's pictures beside it. Raises ConfigError, OutputError."""
    whole = storyboard_of(board, cards, registry, seconds)
    for i, one in enumerate(board.cast, 1):
        picture = media(one.picture)
        if picture is not None:
            put(path.parent / f"cast-{i}.jpg", picture.read_bytes())
    head = HEADER.format(name=board.name.replace("\n", " "), count=len(cards), file=path.name)
    put(path, (head + tomlkit.dumps(whole)).encode())


def subtitles_of(shots: Sequence[Shot]) -> str:
    """Return the captions as an SRT file."""
    return "".join(
        f"{i}\n{stamp(shot.begin_s)} --> {stamp(shot.end_s - 0.05)}\n{_caption(shot.card)}\n\n"
        for i, shot in enumerate(shots, 1)
    )


def _caption(card: Card) -> str:
    return " ".join((card.said if card.sound and card.said else card.text).split())


def make_film(
    board: Board, cards: Sequence[Card], media: Media, output: Path, size: tuple[int, int] = (1280, 720),
    fps: int = 25, seconds: float = SECONDS, burnt: bool = True, say: Callable[[str], None] = lambda _: None,
) -> float:  # fmt: skip
    """Make the film of a board, an SRT file beside it; return its length, s. Raises ConfigError, OutputError.

    ``burnt``: captions are in the picture too.
    """
    shots = shots_of(cards, seconds)
    codec, rate = codec_of("", output), Fraction(fps)
    codec.check(size)
    length = shots[-1].end_s
    titles = Titles(
        [Title(round(s.begin_s * 1e9), round(s.end_s * 1e9), _caption(s.card)[:300]) for s in shots] if burnt else [],
        size,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".board-", dir=output.parent) as folder:
        voice, segment = Path(folder) / "voice.flac", Path(folder) / f"film.{codec.container}"
        _write_voice(voice, shots, media, length)
        file = writer(codec, segment, size, rate)
        try:
            for number, pixels in enumerate(_frames(shots, media, size, fps)):
                file.send(titles.over(pixels, round(number / fps * 1e9)))
                if number % (20 * fps) == 20 * fps - 1:
                    say(f"{number // fps} of {length:.0f} s ...")
            file.close()
        except BaseException:
            file.drop()
            raise
        frames = round(length * fps)
        sound = join.Sound(Song.open(voice), Fraction(0), Fraction(frames, fps))
        chapters = [(s.begin_s, s.end_s, s.card.text[:80]) for s in shots]
        join.join([segment], output, codec, rate, sound, chapters, board.name)
    put(output.with_suffix(".srt"), subtitles_of(shots).encode())
    return length


def _frames(shots: Sequence[Shot], media: Media, size: tuple[int, int], fps: int) -> Iterator[Pixels]:
    """Yield the frames: each card comes a little nearer, and fades into the next."""
    total, number, before = round(shots[-1].end_s * fps), 0, None
    image, last = _picture(shots[0], media, size), None
    for i, shot in enumerate(shots):
        if i:
            last, before, image = image, shots[i - 1], _picture(shot, media, size)
        while number < total and (number < shot.end_s * fps or i == len(shots) - 1):
            t_s = number / fps
            pixels = _moved(image, (t_s - shot.begin_s) / (shot.end_s - shot.begin_s), size)
            share = (t_s - shot.begin_s + 0.5 / fps) / FADE_S
            if last is not None and before is not None and share < 1.0:
                way = (t_s - before.begin_s) / (before.end_s - before.begin_s)
                pixels = cv2.addWeighted(pixels, share, _moved(last, way, size), 1.0 - share, 0.0)
            yield np.dstack((pixels, np.full(pixels.shape[:2], 255, np.uint8)))
            number += 1


def _picture(shot: Shot, media: Media, size: tuple[int, int]) -> Any:
    """Return a card's picture, RGB, cut to the film's form."""
    chosen = shot.card.chosen
    path = media(chosen.picture) if chosen is not None else None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path is not None else None
    if image is None:
        return np.zeros((size[1], size[0], 3), np.uint8)
    height, width = image.shape[:2]
    wide, high = min(width, round(height * size[0] / size[1])), min(height, round(width * size[1] / size[0]))
    left, top = (width - wide) // 2, (height - high) // 2
    return cv2.cvtColor(image[top : top + high, left : left + wide], cv2.COLOR_BGR2RGB)


def _moved(image: Any, share: float, size: tuple[int, int]) -> Any:
    width, height = size
    zoom = 1.0 + DRIFT * min(1.2, max(0.0, share))
    scale = zoom * width / image.shape[1]
    matrix = np.array([
        [scale, 0.0, width / 2 - scale * image.shape[1] / 2], [0.0, scale, height / 2 - scale * image.shape[0] / 2],
    ])  # fmt: skip
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _write_voice(path: Path, shots: Sequence[Shot], media: Media, length: float) -> None:
    """Write what was said, each card's at its begin, silence between."""
    from vjserver.speech.sound import mono

    with soundfile.SoundFile(path, "w", VOICE_HZ, 1, subtype="PCM_16") as file:
        for shot in shots:
            begin, end = round(shot.begin_s * VOICE_HZ), round(min(shot.end_s, length) * VOICE_HZ)
            block, sound = np.zeros(end - begin, np.float32), media(shot.card.sound)
            if sound is not None:
                samples, rate = soundfile.read(sound, dtype="float32", always_2d=True)
                flat = mono(samples)
                places = np.arange(round(len(flat) * VOICE_HZ / rate)) * (rate / VOICE_HZ)
                said = np.interp(places, np.arange(len(flat)), flat).astype(np.float32)[: len(block)]
                block[: len(said)] = said
            file.write(block)
