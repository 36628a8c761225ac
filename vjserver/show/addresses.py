"""The addresses: everything that can be changed or heard has one, declared once, in these tables.

OSC in and out, OSCQuery, the panel, MIDI maps, presets, cues, mappings, triggers and ``docs/osc.md`` are read off them,
through a :class:`~vjserver.show.registry.Registry`, which knows what each generator adds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from vjserver.easing.ease import EASES
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument
from vjserver.types.knobs import Parameter

Kind = Literal["parameter", "action", "output"]
TypeName = Literal["float", "int", "bool", "text", "name"]

N_PROMPTS = 8
N_MACROS = 8
N_SNAPSHOTS = 16
MAX_QUEUE = 32
MAX_NAME = 80
SIDES = (64, 2048)
OUTPUT_FPS = (10.0, 240.0)
# Tempi a genre is counted in, bpm.
GENRES: dict[str, tuple[float, float]] = {
    "any": (52.0, 212.0),
    "house": (112.0, 134.0),
    "techno": (120.0, 158.0),
    "trance": (124.0, 150.0),
    "dnb": (158.0, 185.0),
    "jungle": (150.0, 180.0),
    "breaks": (108.0, 145.0),
    "garage": (122.0, 142.0),
    "dubstep": (132.0, 152.0),
    "trap": (122.0, 165.0),
    "hiphop": (68.0, 108.0),
    "reggaeton": (80.0, 112.0),
    "disco": (100.0, 132.0),
    "funk": (88.0, 124.0),
    "rock": (80.0, 170.0),
    "punk": (145.0, 212.0),
    "ballad": (52.0, 92.0),
}
MAX_TEXT = 2000
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """One argument that an address takes: its type and range. A ``name`` is a text or a number that names a thing."""

    type: TypeName
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    optional: bool = False
    longest: int = MAX_TEXT
    """The characters that a text may have; what is more is cut off, and told."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address: what it takes, what it starts as, what it does."""

    address: str
    kind: Kind
    arguments: tuple[ArgumentSpec, ...]
    doc: str
    default: Argument | None = None
    quantised: bool = False
    """Whether it waits for the boundary that ``/vj/quantise`` names."""
    choices: tuple[str, ...] = ()
    """The texts that are allowed, where not any is."""
    check: Callable[[tuple[Argument, ...]], None] | None = None
    """Raises ConfigError for arguments that are in their ranges but make no sense together."""


FALLBACK_GENERATOR = "pattern"
"""Who makes the picture where nobody else can: it needs no model and no graphics card."""


def _knob(group: str, name: str, low: float, high: float, default: float, unit: str, doc: str) -> Parameter:
    return Parameter(name, low, high, default, unit, doc, group=group)


# The knobs that mean the same to every generator; each says in its info which of them it heeds.
COMMON: dict[str, Parameter] = {
    p.name: p
    for p in (
        _knob("camera", "speed", 0.0, 4.0, 1.0, "x", "how fast the picture moves without sound"),
        _knob("camera", "zoom", -1.0, 1.0, 0.0, "octaves/s", "flight into the picture (above 0.5) or out of it"),
        _knob("camera", "scale", -1.0, 1.0, 0.0, "octaves", "size right now; map a kick here for a punch"),
        _knob("camera", "rotate", -0.5, 0.5, 0.0, "turns/s", "rotation, clockwise above 0.5"),
        _knob("camera", "shift_x", -1.0, 1.0, 0.0, "half heights", "the centre moved right"),
        _knob("camera", "shift_y", -1.0, 1.0, 0.0, "half heights", "the centre moved up"),
        _knob("camera", "pan_x", -1.0, 1.0, 0.0, "half heights/s", "flight to the right, above 0.5"),
        _knob("camera", "pan_y", -1.0, 1.0, 0.0, "half heights/s", "flight upwards, above 0.5"),
        _knob("texture", "detail", 0.0, 1.0, 0.5, "", "few large shapes to many small ones"),
        _knob("texture", "morph", 0.0, 1.0, 0.3, "", "each family's own bend: arms, edges, waves"),
        _knob("texture", "warp", 0.0, 1.0, 0.2, "", "how liquid the space is"),
        _knob("texture", "symmetry", 0.0, 12.0, 0.0, "mirrors", "kaleidoscope sectors, 0 for none"),
        _knob("texture", "feedback", 0.0, 1.0, 0.5, "", "how much of the last picture stays as a trail"),
        _knob("texture", "bloom", 0.0, 1.0, 0.4, "", "how far light glows"),
        _knob("grade", "palette", 0.0, 1.0, 0.0, "turns", "the palette shifted round, cyclic"),
        _knob("grade", "saturation", 0.0, 2.0, 1.0, "x", "grey to vivid"),
        _knob("grade", "brightness", 0.0, 2.0, 1.0, "x", "dark to bright"),
        _knob("grade", "contrast", 0.0, 2.0, 1.0, "x", "flat to hard"),
        _knob("grade", "flash", 0.0, 1.0, 0.0, "", "white light over everything; map a snare here"),
        _knob("picture", "strength", 0.0, 1.0, 0.5, "", "how much of a picture that comes in is redrawn"),
        _knob("decks", "decks", 1.0, 2.0, 1.0, "decks", "2 renders prompts 1-4 and 5-8 as decks A and B"),
        _knob("decks", "crossfade", 0.0, 1.0, 0.0, "", "deck A to deck B"),
    )
}
GRADE = tuple(name for name, p in COMMON.items() if p.group == "grade")
"""What is done to a finished picture: in a chain, once, by the last generator."""


def _is_range(args: tuple[Argument, ...]) -> None:
    low, high = float(args[0]), float(args[1])
    if high < 1.1 * low:
        raise ConfigError(
            f"/vj/tempo/range: the highest tempo must be at least 1.1 x the lowest: got {low:g}, {high:g}"
        )


def size_of(text: str) -> tuple[int, int]:
    """Return (width, height) for ``WIDTHxHEIGHT``, (0, 0) for ``auto``. Raises ConfigError saying what is allowed."""
    if text.strip().lower() == "auto":
        return 0, 0
    width, _, height = text.strip().lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"a size is WIDTHxHEIGHT, such as 768x432, or auto: got {text[:40]!r}")
    sides = int(width), int(height)
    low, high = SIDES
    if any(side % 8 or not low <= side <= high for side in sides):
        raise ConfigError(f"a side is a multiple of 8 in {low}..{high}: got {text[:40]!r}")
    return sides


def _is_size(args: tuple[Argument, ...]) -> None:
    try:
        size_of(str(args[0]))
    except ConfigError as error:
        raise ConfigError(f"/vj/size: {error}") from None


def channels_of(text: str) -> tuple[int, ...] | None:
    """Return the channels, from 0, for ``1`` or ``3+4``; None for ``all``. Raises ConfigError with what is allowed."""
    word = text.strip().lower().removeprefix("all")
    parts = word.replace(",", "+").split("+") if word else []
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 64 for part in parts):
        raise ConfigError(f"channels are numbers in 1..64, such as 1 or 3+4, or all: got {text[:40]!r}")
    return tuple(int(part) - 1 for part in parts) or None


def _is_channels(args: tuple[Argument, ...]) -> None:
    try:
        channels_of(str(args[0]))
    except ConfigError as error:
        raise ConfigError(f"/vj/sound/channels: {error}") from None


MODES = ("open", "push")
HEARD = ("microphone", "music")
POLICIES = ("replace", "queue", "blend", "push")
_CODES = (
    "auto en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la "
    "mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd "
    "gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)
LANGUAGES = frozenset(_CODES.split())
"""What Whisper understands, by its codes."""


def _is_language(args: tuple[Argument, ...]) -> None:
    check_language(str(args[0]), "/vj/speech/language")


def check_language(text: str, where: str) -> None:
    """Raise ConfigError for what is no language's code."""
    if text.strip().lower() not in LANGUAGES:
        raise ConfigError(f"{where}: auto, or a code such as en, es, de, fr, it, ja: got {text[:20]!r}")


QUANTISE = ("none", "beat", "bar", "2bar", "4bar")
SOURCES = ("auto", "tap", "link", "midi", "osc")
LINK = ("off", "follow", "lead")
BETWEEN = ("repeat", "crossfade", "flow")
BACK = ("now", "bar", "operator")


CUE_GO = "/vj/cue/{id}/go"


PARAM = "/vj/param/"


def entries(knobs: Mapping[str, Parameter]) -> Iterable[Entry]:
    """Yield what is declared: what the show has by itself, and the addresses of ``knobs``, by key."""
    unit, switch = ArgumentSpec("float"), ArgumentSpec("bool")
    text = ArgumentSpec("text", unit=f"up to {MAX_TEXT} characters")
    for i in range(1, N_PROMPTS + 1):
        yield Entry(f"/vj/prompt/{i}/text", "parameter", (text,), f"prompt {i}: what the picture is of", "",
                    quantised=True)  # fmt: skip
        weight = 1.0 if i == 1 else 0.0
        yield Entry(f"/vj/prompt/{i}/weight", "parameter", (unit,), f"how much prompt {i} counts", weight)
        yield Entry(
            f"/vj/prompt/{i}/weight/reset", "action", (), f"the weight of prompt {i} back to the preset's value"
        )
    yield Entry("/vj/prompt/push", "action", (text,), f"add a prompt to the queue, which holds {MAX_QUEUE}")
    yield Entry("/vj/prompt/next", "action", (), "the first prompt of the queue becomes prompt 1", quantised=True)
    yield Entry("/vj/prompt/clear", "action", (), "empty the queue")
    lines = ArgumentSpec("text", unit="a prompt a line")
    yield Entry("/vj/prompt/queue", "parameter", (lines,), "the queue of prompts", "")
    for key, knob in knobs.items():
        yield from _of_knob(f"{PARAM}{key}", knob)
    seed = ArgumentSpec("int", 0, MAX_SEED)
    yield Entry("/vj/seed", "parameter", (seed,), "the seed: another one, another picture of the same look", 1)
    yield Entry("/vj/seed/next", "action", (), "the next seed")
    yield Entry("/vj/seed/prev", "action", (), "the seed before")
    yield Entry("/vj/seed/random", "action", (), "a seed far away; the same one after the same one")
    name = ArgumentSpec("text", unit="a name", longest=MAX_NAME)
    yield Entry(
        "/vj/generator",
        "parameter",
        (name,),
        "who makes the picture: a generator that is installed",
        FALLBACK_GENERATOR,
    )
    yield Entry("/vj/model", "parameter", (name,), "the model, for a generator that takes one; empty: the show file's",
                "")  # fmt: skip
    yield Entry("/vj/input", "parameter", (name,), "what the picture starts from, where the generator can: an input of "
                "the show file, another generator, feedback, or empty for noise", "")  # fmt: skip
    yield Entry(
        "/vj/negative", "parameter", (text,), "what the picture must not show, for models with a negative prompt", ""
    )
    size = ArgumentSpec("text", unit="WIDTHxHEIGHT, multiples of 8, or auto")
    yield Entry("/vj/size", "parameter", (size,), "size at which a model thinks; the picture stays as large", "auto",
                check=_is_size)  # fmt: skip
    span = ArgumentSpec("float", 0.0, 64.0, "beats")
    yield Entry(
        "/vj/travel/beats", "parameter", (span,), "how long a change of prompts or seed travels; 0: see seconds", 0.0
    )
    span = ArgumentSpec("float", 0.0, 60.0, "s")
    yield Entry("/vj/travel/seconds", "parameter", (span,), "the same in seconds, where beats is 0; 0 jumps", 0.0)
    ease = ArgumentSpec("text", unit=", ".join(EASES))
    yield Entry(
        "/vj/travel/ease",
        "parameter",
        (ease,),
        "how a travel begins and ends",
        "smooth",
        choices=tuple(EASES),
    )
    yield from _play()
    yield Entry("/vj/master/blackout", "parameter", (switch,), "1 is black, at once, whatever else happens", False)
    yield Entry("/vj/master/freeze", "parameter", (switch,), "1 holds the picture", False)
    yield Entry("/vj/master/fade", "parameter", (unit,), "the master fader: 1 full, 0 black", 1.0)
    yield Entry("/vj/master/safe", "parameter", (switch,), "1 shows the safe loop instead of generated pictures", False)
    yield Entry("/vj/master/panic", "action", (), "the way out: the safe loop at once, nothing black, frozen or faded; "
                "autopilot, cues, takes and what waits are stopped; /vj/master/safe 0 to continue")  # fmt: skip
    ms = ArgumentSpec("float", -1.0, 500.0, "ms")
    yield Entry("/vj/lookahead", "parameter", (ms,), "how far ahead pictures are made, so that they are on the screen "
                "on the beat; -1 measures it", -1.0)  # fmt: skip
    rate = ArgumentSpec("float", *OUTPUT_FPS, "frames/s")
    yield Entry("/vj/deliver/fps", "parameter", (rate,), "pictures delivered a second, whatever is generated", 60.0)
    way = ArgumentSpec("text", unit=", ".join(BETWEEN))
    yield Entry("/vj/deliver/between", "parameter", (way,), "what is shown between two generated pictures: the "
                "last again, a blend, or one by optical flow (CPU); the last two show each picture one interval later",
                "repeat", choices=BETWEEN)  # fmt: skip
    way = ArgumentSpec("text", unit=", ".join(BACK))
    yield Entry("/vj/deliver/back", "parameter", (way,), "how generated pictures come back after the safe loop: now, "
                "on the next bar, or when the operator sends /vj/deliver/return", "bar",
                choices=BACK)  # fmt: skip
    yield Entry("/vj/deliver/return", "action", (), "from the safe loop to generated pictures, if they come")
    label, door = ArgumentSpec("text", unit="a label"), ArgumentSpec("text", unit="KIND option=value ...")
    yield Entry("/vj/output/add", "action", (label, door), "open an output: `ndi name=wall size=1280x720 fps=30`; "
                "one of that label is replaced")  # fmt: skip
    yield Entry("/vj/output/list", "action", (), "answered to the sender with one /vj/status/output for each output")
    yield Entry("/vj/output/remove", "action", (label,), "close the output of that label")
    yield Entry("/vj/record", "parameter", (switch,), "1 records picture and sound into a new file, 0 ends it", False)
    device = ArgumentSpec("text", unit="part of a device's name, loopback, or empty")
    yield Entry("/vj/sound/device", "parameter", (device,), "which audio input is heard; empty: the show file's", "")
    heard = ArgumentSpec("text", unit="all, 1, 3+4 ...")
    yield Entry("/vj/sound/channels", "parameter", (heard,), "which of its channels are heard, from 1; empty: the show "
                "file's", "", check=_is_channels)  # fmt: skip
    yield from _speech()
    yield from _board()
    bpm = ArgumentSpec("float", 20.0, 400.0, "bpm")
    source = ArgumentSpec("text", unit=", ".join(SOURCES))
    yield Entry("/vj/tempo/source", "parameter", (source,), "who keeps the beat: the ear (auto), the hand (tap), "
                "Ableton Link, MIDI clock, or /vj/tempo/beat (osc); a tap, bpm or lock makes it the hand", "auto",
                choices=SOURCES)  # fmt: skip
    place = ArgumentSpec("int", 0, 15, optional=True)
    yield Entry("/vj/tempo/beat", "action", (place,), "now is a beat, at this place in the bar (0 is the downbeat); "
                "heard where /vj/tempo/source is osc")  # fmt: skip
    yield Entry("/vj/tempo/bpm", "action", (bpm,), "set the tempo by hand; it holds until auto; asked: the tempo")
    yield Entry("/vj/tempo/tap", "action", (), "tap: four in a row set tempo and beat")
    yield Entry("/vj/tempo/resync", "action", (), "now is the first beat of the bar")
    ms = ArgumentSpec("float", -500.0, 500.0, "ms")
    yield Entry("/vj/tempo/nudge", "action", (ms,), "shift the beat, later if positive")
    yield Entry("/vj/tempo/flip", "action", (), "shift the beat by half a beat")
    yield Entry("/vj/tempo/double", "action", (), "twice the tempo")
    yield Entry("/vj/tempo/half", "action", (), "half the tempo")
    yield Entry("/vj/tempo/lock", "action", (switch,), "1 holds tempo and beat, 0 follows the music again")
    yield Entry("/vj/tempo/auto", "action", (), "follow the music again; range and genre stay")
    limit = ArgumentSpec("float", 40.0, 240.0, "bpm")
    yield Entry(
        "/vj/tempo/range", "action", (limit, limit), "expect tempi from .. to: settles half and double", check=_is_range
    )
    genre = ArgumentSpec("name", unit=", ".join(GENRES))
    yield Entry(
        "/vj/tempo/genre", "action", (genre,), "expect a genre's tempi; `any` expects all", choices=tuple(GENRES)
    )
    link = ArgumentSpec("text", unit=", ".join(LINK))
    yield Entry("/vj/tempo/link", "parameter", (link,), "Ableton Link: follow its beat (as /vj/tempo/source link "
                "does), or lead it", "off", choices=LINK)  # fmt: skip
    played = ArgumentSpec("text", unit="an address", optional=True)
    yield Entry("/vj/midi/learn", "action", (played,), "the next fader, knob or pad that moves plays this address; "
                "without one: learn nothing after all")  # fmt: skip
    yield Entry(
        "/vj/midi/forget", "action", (ArgumentSpec("text", unit="an address"),), "take back what was learnt for it"
    )
    yield Entry("/vj/midi/clock", "parameter", (switch,), "1 sends MIDI clock to every MIDI output", False)
    part = ArgumentSpec("text", unit="part of a port's name")
    yield Entry("/vj/midi/clock/from", "parameter", (part,), "whose MIDI clock is followed where several send one; "
                "empty: the first that plays", "")  # fmt: skip
    port = ArgumentSpec("name", unit="a UDP port of the sender's machine; default: where it sent from", optional=True)
    kind = ArgumentSpec("name", unit="all, numbers or text", optional=True)
    yield Entry("/vj/subscribe", "action", (port, kind), "get every accepted value, and all of them now, for "
                "10 s; any message from there renews; the two may come in any order")  # fmt: skip
    code = ArgumentSpec("int", 0, MAX_SEED, optional=True)
    yield Entry("/vj/renew", "action", (code,), "get values for another 10 s; with the number of /vj/subscribed: "
                "begin to get them")  # fmt: skip
    yield Entry("/vj/unsubscribe", "action", (), "get no more values")
    anything = ArgumentSpec("name", optional=True, unit="comes back as it is")
    yield Entry("/vj/ping", "action", (anything,), "answered with /vj/pong to the sender")


def _of_knob(address: str, knob: Parameter) -> Iterable[Entry]:
    """Yield the four addresses of a knob: 0..1, its own unit, a step, and back."""
    span = f"{knob.low:g}..{knob.high:g} {knob.unit}".strip()
    if knob.choices:
        span = ", ".join(f"{i} {label}" for i, label in enumerate(knob.choices))
    means = "" if (knob.low, knob.high) == (0.0, 1.0) and not knob.choices else f" (0..1 is {span})"
    raw = ArgumentSpec("float" if knob.type == "float" else "int", knob.low, knob.high, knob.unit)
    start = knob.default if knob.type == "float" else int(knob.default)
    yield Entry(address, "parameter", (ArgumentSpec("float"),), f"{knob.doc}{means}", knob.start)
    yield Entry(f"{address}/raw", "parameter", (raw,), f"the same as {address} in its own unit", start)
    yield Entry(f"{address}/inc", "action", (ArgumentSpec("float", -1.0, 1.0),), f"add to {address}")
    yield Entry(f"{address}/reset", "action", (), f"{address} back to the preset's value")


def _speech() -> Iterable[Entry]:
    """Yield what is played on what is said."""
    switch = ArgumentSpec("bool")
    yield Entry("/vj/speech/on", "parameter", (switch,), "1 listens to a microphone: what is said becomes the picture",
                False)  # fmt: skip
    mode = ArgumentSpec("text", unit=", ".join(MODES))
    yield Entry("/vj/speech/mode", "parameter", (mode,), "listen all the time (open), or while /vj/speech/talk is held "
                "(push)", "open", choices=MODES)  # fmt: skip
    yield Entry("/vj/speech/talk", "parameter", (switch,), "push to talk: 1 while the button is held", False)
    heard = ArgumentSpec("text", unit=", ".join(HEARD))
    yield Entry("/vj/speech/source", "parameter", (heard,), "what is listened to: a microphone, or the music: "
                "a singer becomes prompts", "microphone", choices=HEARD)  # fmt: skip
    policy = ArgumentSpec("text", unit=", ".join(POLICIES))
    yield Entry("/vj/speech/policy", "parameter", (policy,), "what a phrase does: replaces prompt 1, joins the queue, "
                "blends in as prompt 4 and fades, or waits for /vj/speech/push", "replace",
                choices=POLICIES)  # fmt: skip
    style = ArgumentSpec("text", unit="a text with {phrase} in it")
    yield Entry("/vj/speech/style", "parameter", (style,), "the prompt that a phrase becomes: `{phrase}, oil painting`",
                "{phrase}")  # fmt: skip
    code = ArgumentSpec("text", unit="auto, or a code such as en, es, de", longest=12)
    yield Entry("/vj/speech/language", "parameter", (code,), "the language that is spoken; auto finds it out", "auto",
                check=_is_language)  # fmt: skip
    yield Entry(
        "/vj/speech/bars",
        "parameter",
        (ArgumentSpec("int", 1, 256, "bars"),),
        "how long a phrase fades that blends in",
        8,
    )
    yield Entry("/vj/speech/hold_s", "parameter", (ArgumentSpec("float", 0.0, 3600.0, "s"),),
                "so long after the last phrase the typed prompt is back; 0: it stays", 60.0)  # fmt: skip
    yield Entry("/vj/speech/crowd", "parameter", (switch,), "1: phrases from the page /speak wait for approval", False)
    number = ArgumentSpec("int", 1, MAX_SEED, "a phrase's number; without it the newest", optional=True)
    yield Entry("/vj/speech/push", "action", (number,), "a phrase that waits becomes the picture")
    yield Entry("/vj/speech/drop", "action", (number,), "a phrase that waits is dropped")


def _board() -> Iterable[Entry]:
    """Yield what is played on the board of tonight."""
    yield Entry("/vj/board/keep", "parameter", (ArgumentSpec("bool"),), "1 keeps every phrase that becomes the "
                "picture, and the picture, as a card of tonight's board", True)  # fmt: skip
    yield Entry("/vj/board/star", "action", (), "a star for the newest card")
    name = ArgumentSpec("text", unit="a name", optional=True)
    yield Entry("/vj/board/new", "action", (name,), "begin another board: the next cards go there")


def _play() -> Iterable[Entry]:
    """Yield what is played on presets, snapshots, macros, cues and takes."""
    unit, switch = ArgumentSpec("float"), ArgumentSpec("bool")
    go = ArgumentSpec("name", unit="a preset's name or number from 1; or its bank ...")
    slot = ArgumentSpec("int", 1, 999, "... and slot", optional=True)
    yield Entry("/vj/preset/go", "action", (go, slot), "go to a preset; asked: the number of the one that plays",
                quantised=True)  # fmt: skip
    yield Entry("/vj/preset/next", "action", (), "the next preset", quantised=True)
    yield Entry("/vj/preset/prev", "action", (), "the preset before", quantised=True)
    bank = ArgumentSpec("text", unit="a bank's name")
    yield Entry("/vj/preset/bank", "parameter", (bank,), "the bank in which presets are counted; empty: all banks", "")
    name = ArgumentSpec("text", unit="a name", optional=True)
    yield Entry("/vj/preset/save", "action", (name,), "save the look as a preset of yours of that name; without one: "
                "over the one that plays, if it is yours")  # fmt: skip
    number = ArgumentSpec("int", 1, N_SNAPSHOTS)
    yield Entry("/vj/snapshot/store", "action", (number,), "keep the look under a number")
    yield Entry("/vj/snapshot/recall", "action", (number,), "go to a look that was kept", quantised=True)
    for i in range(1, N_MACROS + 1):
        yield Entry(f"/vj/macro/{i}", "parameter", (unit,), f"macro {i}: one fader for what the preset ties to it", 0.0)
        yield Entry(
            f"/vj/macro/{i}/reset", "action", (), f"macro {i}, and what is tied to it, back to the preset's value"
        )
    yield Entry("/vj/cue/go", "action", (), "the next cue", quantised=True)
    yield Entry("/vj/cue/back", "action", (), "the cue before", quantised=True)
    yield Entry(CUE_GO, "action", (), "the cue of that id", quantised=True)
    yield Entry("/vj/cue/stop", "action", (), "cues follow by themselves no more")
    span = ArgumentSpec("float", 0.0, 256.0, "beats")
    yield Entry("/vj/morph/beats", "parameter", (span,), "how long a change of preset morphs; 0: see seconds", 0.0)
    span = ArgumentSpec("float", 0.0, 600.0, "s")
    yield Entry("/vj/morph/seconds", "parameter", (span,), "the same in seconds, where beats is 0; 0 cuts", 0.0)
    ease = ArgumentSpec("text", unit=", ".join(EASES))
    yield Entry("/vj/morph/ease", "parameter", (ease,), "how a morph begins and ends", "smooth",
                choices=tuple(EASES))  # fmt: skip
    when = ArgumentSpec("text", unit=", ".join(QUANTISE))
    yield Entry("/vj/quantise", "parameter", (when,), "presets, cues, snapshots and prompts wait for the next one",
                "none", choices=QUANTISE)  # fmt: skip
    yield Entry("/vj/quantise/clear", "action", (), "what waits is not done")
    yield Entry("/vj/autopilot", "parameter", (switch,), "1 goes to another preset every few bars", False)
    yield Entry("/vj/autopilot/bars", "parameter", (ArgumentSpec("int", 1, 256, "bars"),), "how many bars it stays", 16)
    yield Entry("/vj/preview/take", "action", (), "the deck of the preview goes on air, over the morph time",
                quantised=True)  # fmt: skip
    yield Entry("/vj/undo", "action", (), "the look as it was before the last change; 100 steps")
    yield Entry("/vj/redo", "action", (), "the change that was undone")
    yield Entry("/vj/take/record", "parameter", (switch,), "1 writes every accepted message into a new take", False)
    yield Entry("/vj/take/play", "action", (name,), "play a take; without a name: the newest")
    yield Entry("/vj/take/stop", "action", (), "end the take that plays")


def _outputs() -> Iterable[Entry]:
    def out(address: str, doc: str, *arguments: ArgumentSpec) -> Entry:
        return Entry(address, "output", arguments or (ArgumentSpec("float"),), doc)

    count = ArgumentSpec("int", 0, 2**31 - 1)
    yield out("/vj/beat", "number of the beat, counted from the start; sent on (or ahead of) the beat", count)
    yield out("/vj/beat/pulse", "1 on the beat, 0 shortly after")
    yield out("/vj/beat/position", "place in the bar, 0 is the downbeat", ArgumentSpec("int", 0, 15))
    yield out("/vj/bar/beats", "beats in the bar: 2 (also 6/8), 3 or 4", ArgumentSpec("int", 1, 16))
    yield out("/vj/downbeat/pulse", "1 on the downbeat, 0 shortly after")
    for name in ("kick", "snare", "hat", "onset"):
        yield out(f"/vj/{name}", f"strength of a {name} the moment it is heard, 0 shortly after")
    yield out("/vj/beat/phase", "0 on the beat, rising to 1")
    yield out("/vj/bar/phase", "0 on the downbeat, rising to 1")
    yield out("/vj/bpm", "tempo; 0 while unknown", ArgumentSpec("float", 0.0, 400.0, "bpm"))
    yield out("/vj/confidence", "trust in the tempo")
    yield out("/vj/level", "loudness")
    yield out("/vj/centroid", "brightness")
    yield out("/vj/flux", "how much the spectrum rises")
    yield out("/vj/pitch", "strongest pitch, 0 where none is clear", ArgumentSpec("float", 0.0, 5000.0, "Hz"))
    yield out("/vj/energy", "slow loudness")
    yield out("/vj/silence", "1 while the room is silent")
    yield out("/vj/sound/peak", "peak of the input as it comes, of full scale")
    yield out("/vj/sound/clip", "1 for a second after the input was cut off at full scale: turn it down")
    yield out("/vj/buildup", "how far a build-up has risen")
    yield out("/vj/break", "1 while the low end is away")
    yield out("/vj/drop", "1 when kick and low end come back after a break, 0 shortly after")
    yield out("/vj/speech/speaking", "how surely somebody speaks into the microphone")
    yield out("/vj/speech/level", "how loud the microphone is")
    text = ArgumentSpec("text")
    yield out("/vj/speech/text", "what is being said, as far as it is understood", text)
    yield out("/vj/speech/phrase", "the phrase that became the picture, or waits to", text)
    yield out("/vj/speech/confidence", "how surely it was understood")
    yield out(
        "/vj/speech/lag_s",
        "for how long what was said waits to be written down",
        ArgumentSpec("float", 0.0, 3600.0, "s"),
    )
    number, seconds = ArgumentSpec("int", 0, 2**31 - 1), ArgumentSpec("float", 0.0, 1e6, "s")
    event = (number, text, text, text, text, ArgumentSpec("float"), seconds, seconds, text)
    yield out("/vj/speech/event", "all of it in one message: number, partial, final or revised, text, phrase, "
              "language, confidence, begin and end (seconds since speech was switched on), who (empty: the microphone)",
              *event)  # fmt: skip
    yield out("/vj/tonal_change", "how far the harmony has moved within the last second or two")
    yield out("/vj/bands", "sub, bass, lowmid, mid, high, air", *[ArgumentSpec("float")] * 6)
    yield out("/vj/spectrum", "32 log bands, 40 Hz to 16 kHz", *[ArgumentSpec("float")] * 32)
    yield out("/vj/chroma", "12 pitch classes, C first", *[ArgumentSpec("float")] * 12)
    yield out("/vj/status/heartbeat", "counts once a second while the ear lives", count)
    for name in ("audio_to_osc", "audio_to_frame", "source_to_frame", "frame_to_output"):
        ms = ArgumentSpec("float", 0.0, 10000.0, "ms")
        yield out(f"/vj/status/latency/{name}", f"{name.replace('_', ' ')}: median, 95th percentile", ms, ms)
    yield out("/vj/status/fps", "frames a second: generated, delivered", *[ArgumentSpec("float", 0.0, 1000.0)] * 2)
    ms = ArgumentSpec("float", 0.0, 10000.0, "ms")
    yield out("/vj/status/pacing", "how late pictures leave after their slot: median, 99th percentile", ms, ms)
    yield out(
        "/vj/status/late", "pictures that left 2 ms late or more, and slots left out, since the start", count, count
    )
    share = ArgumentSpec("float", 0.0, 1.0)
    yield out("/vj/status/jumpiness", "difference of successive pictures over 2 s: mean, greatest", share, share)
    text = ArgumentSpec("text")
    yield out("/vj/status/generator", "who makes the picture, and at which size, steps and decks", text)
    yield out(
        "/vj/event",
        "name of what was heard: beat, downbeat, kick, snare, hat, onset, break, groove, drop, tempo, silence",
        text,
    )
    yield out("/vj/status/picture", "what is on the screen: start, live, hold, safe or black", text)
    row = (text, text, ArgumentSpec("float", 0.0, 1000.0), count, ArgumentSpec("int", -1, 2**31 - 1), text, text)
    yield out("/vj/status/output", "an output: label, sends or off, frames a second, drops, receivers (-1: not known), "
              "tally, configuration", *row)  # fmt: skip
    yield out("/vj/status/error", "what works less well than it should, and why", text, text)
    yield out("/vj/status/ok", "what works again, and how", text, text)
    yield out("/vj/status/preset", "the preset that plays", text)
    yield out("/vj/status/pending", "what waits for its boundary, and for how many beats", text, count)
    yield out("/vj/status/cue", "the cue that was called, and the next one", text, text)
    yield out("/vj/status/learnt", "what MIDI learnt: the control, and its address", text, text)
    why = ArgumentSpec("text", optional=True, unit="what was wrong with the sender's last message")
    yield out("/vj/pong", "the answer to /vj/ping, to its sender", ArgumentSpec("name", optional=True), why)
    yield out("/vj/status/prompt", "the heaviest prompt", text)
    yield out("/vj/subscribed", "asks a subscriber on another machine, which [osc] allow does not name, to send "
              "/vj/renew with this number: it was really you", count)  # fmt: skip


OUTPUTS: dict[str, Entry] = {entry.address: entry for entry in _outputs()}
