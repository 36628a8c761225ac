"""Controller maps: MIDI bytes go in, messages with addresses come out; values go in, bytes that light LEDs come out.

A map is a TOML file, one for each controller: which note or fader plays which address. Nothing here opens a port.
MIDI: MIDI 1.0 Detailed Specification 4.2 (midi.org); relative encoders: the three encodings that makers use.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from vjserver.controls.midibytes import BEND, CC, CC14, NOTE, NRPN, PRESET, PROGRAM, Kept, decoded
from vjserver.show.addresses import Entry
from vjserver.show.preset import Curve, Strict, known_address, registry_of
from vjserver.show.presettext import parse_toml
from vjserver.show.registry import Registry, cue_of
from vjserver.show.state import CURVES
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

MAPS = Path(__file__).parent / "maps"
"""Ours, a file a controller."""
SHIFT = "shift"
NUMBERED = {NOTE: 127, CC: 127, CC14: 31, NRPN: 16383, PROGRAM: 127}
"""Kinds of control that have a number, and the highest."""
Read = Callable[[str], Argument | None]
Shows = Callable[[str, Sequence[Argument]], bool | None]
Message = tuple[str, tuple[Argument, ...]]
How = Literal["absolute", "relative", "relative-offset", "relative-signed", "button", "toggle", "hold"]
Takeover = Literal["jump", "pickup", "scale"]
Place = tuple[str, int, int]
_LAYER = Entry(SHIFT, "action", (), "the other layer, while it is held")
_NEAR = 1.5 / 127.0  # a fader is at a value when it is as near as this


def _known(address: str, info: ValidationInfo) -> str:
    if address != SHIFT:
        known_address(address.replace("{n}", "1"), info)
    return address


class Led(Strict):
    """How a control is lit: what is sent, on which channel (1..16); ``ring`` sends 0..127 by the value instead."""

    on: int = Field(127, ge=0, le=127)
    off: int = Field(0, ge=0, le=127)
    empty: int = Field(0, ge=0, le=127, description="where there is nothing to call: no such preset, no snapshot")
    channel: int | None = Field(None, ge=1, le=16, description="default: the control's")
    ring: bool = False


class Control(Strict):
    """A control, or ``count`` of them on numbers that follow each other; ``{n}`` and ``"#"`` stand for 1, 2, 3 ..."""

    note: int | None = Field(None, ge=0, le=127)
    cc: int | None = Field(None, ge=0, le=127)
    cc14: int | None = Field(None, ge=0, le=31, description="the coarse half; the fine one is 32 further")
    nrpn: int | None = Field(None, ge=0, le=16383, description="a parameter number (CC 99, 98), its value in CC 6, 38")
    program: int | None = Field(None, ge=0, le=127, description="a program change, as a button")
    pitch: bool = False
    channel: int = Field(1, ge=1, le=16)
    numbers: tuple[int, ...] = Field((), max_length=128, description="numbers that do not follow each other")
    count: int = Field(1, ge=1, le=128)
    by: Literal["number", "channel"] = Field("number", description="what rises from one of the count to the next")
    to: Annotated[str, AfterValidator(_known)]
    args: tuple[float | int | str | bool, ...] = ()
    how: How | None = Field(None, description="default: by what it is and what it plays")
    takeover: Takeover | None = None
    range: tuple[float, float] | None = None
    curve: Curve = "linear"
    step: float = Field(0.01, gt=0.0, le=1.0, description="how far one tick of an encoder goes, of the range")
    layer: str = ""
    led: Led | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Control":
        named = [name for name in NUMBERED if getattr(self, name) is not None] + [BEND] * self.pitch
        if len(named) != 1 and not (not named and self.numbers):
            known = ", ".join((*NUMBERED, BEND))
            raise ValueError(f"a control is one of {known}: got {', '.join(named) or 'none'}")
        return self

    @property
    def kind(self) -> str:
        """What it sends: note, cc, cc14, nrpn, program or pitch."""
        return next((name for name in NUMBERED if getattr(self, name) is not None), BEND)

    def places(self) -> "Iterator[Place]":
        """Yield where each control of a row is: kind, channel and number. Raises ConfigError beyond what MIDI has."""
        first = 0 if self.pitch else getattr(self, self.kind)
        numbers = [first, *self.numbers] if self.numbers else [first] * self.count
        for i, number in enumerate(numbers):
            more = 0 if self.numbers else i
            channel = self.channel + (more if self.by == "channel" else 0)
            number += more if self.by == "number" and not self.pitch else 0
            if number > NUMBERED.get(self.kind, 127) or channel > 16:
                raise ConfigError(f"{self.kind} {number} on channel {channel} is beyond what MIDI has")
            yield self.kind, channel, number

    def spread(self, registry: Registry) -> "Iterator[_Single]":
        """Yield each control of a row by itself; those of a generator that is not installed lie idle.

        Raises ConfigError for arguments that its address does not take.
        """
        for i, place in enumerate(self.places()):
            to = self.to.replace("{n}", str(i + 1))
            args: tuple[Argument, ...] = tuple(i + 1 if arg == "#" else arg for arg in self.args)
            if to == SHIFT:
                yield _Single(self, place, to, args)
                continue
            try:
                entry = registry.lookup(to)
            except ConfigError:  # one of a row that is longer than what it plays
                continue
            if args:
                registry.accept(to, args)
            yield _Single(self, place, registry.canonical(to), args, entry)


class MidiMap(Strict):
    """A controller: parts of its ports' names, what it is sent first and last, and its controls."""

    name: str = Field(min_length=1, max_length=80)
    match: tuple[str, ...] = ()
    setup: tuple[str, ...] = Field((), description="messages sent when it is plugged in, as hexadecimal bytes")
    leave: tuple[str, ...] = Field((), description="messages sent when the server ends, as hexadecimal bytes")
    takeover: Takeover = "pickup"
    controls: tuple[Control, ...] = Field((), max_length=512)

    @field_validator("controls")
    @classmethod
    def _sound(cls, controls: tuple[Control, ...], info: ValidationInfo) -> tuple[Control, ...]:
        for control in controls:
            try:
                list(control.spread(registry_of(info)))
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return controls

    @field_validator("setup", "leave")
    @classmethod
    def _bytes(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        for row in rows:
            bytes.fromhex(row)
        return rows

    def idle(self, registry: Registry) -> str:
        """Return what of it lies idle because a generator is not installed, in words, or an empty text."""
        absent = [kind for control in self.controls if (kind := registry.absent(control.to.replace("{n}", "1")))]
        return "; ".join(
            f"{kind} is not installed: {absent.count(kind)} controls lie idle" for kind in sorted(set(absent))
        )

    def fits(self, port: str) -> bool:
        """Tell whether a port of that name is this controller's."""
        return any(part.lower() in port.lower() for part in self.match)


@dataclass(slots=True)
class _Single:
    """One control at work: its place (kind, channel, number), what it plays, and where its fader stands."""

    control: Control
    place: Place
    to: str
    args: tuple[Argument, ...]
    entry: Entry = _LAYER
    """What its address takes."""
    stands: float | None = None
    caught: bool = False
    sent: float | None = None

    @property
    def how(self) -> How:
        """How it is played: as the map says, or by what it is."""
        if self.control.how is not None:
            return self.control.how
        if (
            self.place[0] not in (NOTE, PROGRAM)
            and self.entry.kind == "parameter"
            and self.entry.arguments[0].type in ("float", "int")
        ):
            return "absolute" if not self.args else "button"
        switch = self.entry.kind == "parameter" and self.entry.arguments[0].type == "bool"
        return "toggle" if switch and not self.args else "button"

    @property
    def span(self) -> tuple[float, float]:
        """The values at the ends of a fader."""
        if self.control.range is not None:
            return self.control.range
        first = self.entry.arguments[0] if self.entry.arguments else None
        return (first.low, first.high) if first is not None and first.type in ("float", "int") else (0.0, 1.0)


class Surface:
    """A controller at work. ``read`` returns the present value of an address.

    ``shows`` tells of a message whether what it would bring is what is now; None where it would bring nothing.
    """

    def __init__(
        self, midi_map: MidiMap, registry: Registry, read: Read, shows: Shows, learnt: Sequence[Control] = ()
    ) -> None:
        self.map, self._read, self._shows = midi_map, read, shows
        self._singles: dict[Place, list[_Single]] = {}
        own = [single for control in learnt for single in control.spread(registry)]
        taken = {(single.place, single.control.layer) for single in own}
        shipped = [single for control in midi_map.controls for single in control.spread(registry)]
        for single in (*own, *(s for s in shipped if (s.place, s.control.layer) not in taken)):
            self._singles.setdefault(single.place, []).append(single)
        self._layer = ""
        self._kept = Kept()
        self._lit: dict[tuple[int, int], int] = {}

    def hear(self, data: Sequence[int]) -> list[Message]:
        """Return what a MIDI message means here, nothing for what is not on the map."""
        messages: list[Message] = []
        for kind, channel, number, value in decoded(data, self._kept):
            if kind == PROGRAM and not any(place[:2] == (kind, channel) for place in self._singles):
                messages.append((PRESET, (number + 1,)))  # what a foot switch or a DAW is most likely to mean
            for single in self._present(self._singles.get((kind, channel, number), ())):
                if single.to == SHIFT:
                    self._layer = SHIFT if value > 0.0 else ""
                else:
                    messages += self._play(single, value)
        return messages

    def _present(self, singles: Sequence[_Single]) -> Sequence[_Single]:
        """Return those of one place that play now: its layer's, or where the layer has none those of no layer."""
        return [s for s in singles if s.control.layer == self._layer] or [s for s in singles if not s.control.layer]

    def _play(self, single: _Single, value: float) -> list[Message]:
        how = single.how
        if how == "absolute":
            return self._slide(single, value)
        if how.startswith("relative"):
            return self._turn(single, how, round(value * 127))
        pressed = value > 0.0 if single.place[0] in (NOTE, PROGRAM) else value >= 0.5
        if how == "hold":
            return [(single.to, (pressed,))]
        if not pressed:
            return []
        if how == "toggle":
            return [(single.to, (not self._read(single.to),))]
        return [(single.to, single.args)]

    def _slide(self, single: _Single, position: float) -> list[Message]:
        """A fader moved: take its value over as the map says."""
        before, single.stands = single.stands, position
        now = self._position(single)
        takeover = single.control.takeover or self.map.takeover
        if now is None or takeover == "jump":
            return [self._set(single, position)]
        if single.sent is None or abs(now - single.sent) > _NEAR:
            single.caught = False  # somebody else has moved it
        if takeover == "pickup" and not single.caught:
            crossed = before is not None and min(before, position) <= now <= max(before, position)
            if not (crossed or abs(position - now) <= _NEAR):
                return []
            single.caught = True
        elif takeover == "scale" and not single.caught:
            if abs(position - now) <= _NEAR:
                single.caught = True
            elif before is None or before == position:
                return []
            elif position > before:
                position = now + (1.0 - now) * (position - before) / (1.0 - before)
            else:
                position = now - now * (before - position) / before
        return [self._set(single, position)]

    def _position(self, single: _Single) -> float | None:
        """Return where its fader would have to stand for the present value, or None where that cannot be said.

        For a value beyond the fader's range that is its nearest end.
        """
        value = self._read(single.to)
        low, high = single.span
        if isinstance(value, str) or value is None or low == high:
            return None
        return _inverse(single.control.curve, min(1.0, max(0.0, (float(value) - low) / (high - low))))

    def _set(self, single: _Single, position: float) -> Message:
        low, high = single.span
        single.sent = position
        value = low + (high - low) * CURVES[single.control.curve](min(1.0, max(0.0, position)))
        return single.to, (*single.args, value)

    def _turn(self, single: _Single, how: str, number: int) -> list[Message]:
        ticks = {
            "relative": number - 128 if number >= 64 else number,  # two's complement
            "relative-offset": number - 64,
            "relative-signed": 64 - number if number >= 64 else number,
        }[how]
        now = self._position(single)
        if not ticks or now is None:
            return []
        return [self._set(single, min(1.0, max(0.0, now + ticks * single.control.step)))]

    # -- lights --------------------------------------------------------------------------------------------

    def lights(self) -> list[bytes]:
        """Return the messages for the LEDs that have to change: to the values of the layer that is played."""
        present = [s for singles in self._singles.values() for s in self._present(singles)]
        return self._change({_place(s, led): self._light(s, led) for s in present if (led := s.control.led)})

    def dark(self) -> list[bytes]:
        """Return the messages that put all LEDs out: the controller is let go."""
        every = [s for singles in self._singles.values() for s in singles]
        return self._change({_place(s, led): 0 for s in every if (led := s.control.led)})

    def _change(self, wanted: Mapping[tuple[int, int], int]) -> list[bytes]:
        changed = {place: value for place, value in wanted.items() if self._lit.get(place) != value}
        self._lit.update(changed)
        return [bytes([*place, value]) for place, value in changed.items()]

    def _light(self, single: _Single, led: Led) -> int:
        if single.to == SHIFT:
            return led.on if self._layer else led.off
        if led.ring:
            position = self._position(single)
            return round(127 * position) if position is not None else led.off
        if single.args or cue_of(single.to):
            return {True: led.on, False: led.off, None: led.empty}[self._shows(single.to, single.args)]
        if single.entry.kind != "parameter":
            return led.on  # it can be pressed
        return led.on if self._read(single.to) else led.off


def _inverse(curve: Curve, value: float) -> float:
    """Return where in 0..1 a curve is at ``value``; all of them rise or fall throughout."""
    if curve == "linear":
        return value
    shape, low, high = CURVES[curve], 0.0, 1.0
    rises = shape(1.0) > shape(0.0)
    for _ in range(20):
        middle = (low + high) / 2.0
        if (shape(middle) < value) == rises:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _place(single: _Single, led: Led) -> tuple[int, int]:
    """Return the status byte and the number with which a control is lit."""
    kind, channel, number = single.place
    return (0x90 if kind == NOTE else 0xB0) | ((led.channel or channel) - 1), number


def load_map(path: Path, registry: Registry) -> MidiMap:
    """Read a controller map. Raises ConfigError with file, line and what is allowed."""
    try:
        return parse_toml(MidiMap, path.read_text(encoding="utf-8-sig"), str(path.name), registry)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
