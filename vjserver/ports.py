"""Ports: what a door must be, and how it is found.

A door is a class with an ``Options`` model and a few methods, registered under an entry point. Ours register as a
stranger's would. Configuration names a door by ``kind`` and holds its options.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vjserver.speech.words import ContextName, Hypothesis
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import ConfigError, VJError, nearest
from vjserver.types.frames import Frame, FrameRequest

Room = Literal["sources", "generators", "inputs", "outputs", "recognisers"]
Group = Room | Literal["generator_info"]
OURS = "vjserver"
_Model = TypeVar("_Model", bound=BaseModel)
SLOWEST_FPS = 0.1
MOST_PIXELS = 7680 * 4320


class Source(Protocol):
    """Gives sound. A source is made with its options and a clock."""

    rate_hz: int
    drops: int
    """Blocks that were lost because nobody took them in time."""

    def open(self) -> None:
        """Start. Raises DeviceError."""

    def read(self, until_ns: int) -> AudioBlock | None:
        """Return the next block when its last sample is due, or None if that is later than ``until_ns``.

        Raises DeviceError when the sound has ended or the device is gone.
        """

    def close(self) -> None:
        """Stop; may be called twice."""


class Generator(Protocol):
    """Makes pictures. What a frame remembers of the last one is ``state``: opaque, explicit, None at first.

    Its class has an ``Options`` model, and ``INFO``, which is also found under the entry point
    ``vjserver.generator_info``: that one is read by every process, so its module imports nothing heavy. Nor does the
    class's module: libraries are imported by ``open``.
    """

    def open(self) -> None:
        """Get ready. Raises GeneratorError."""

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Do what would make the first frame slow; ``prompts`` are texts that are likely to be asked for."""

    def render(self, request: FrameRequest, state: Any) -> tuple[Frame, Any]:
        """Return the frame, ``(request.height, request.width, 4)`` RGBA, and the state for the next.

        The pixels stay valid until the frame after the next. Times, numbers and beats of its header are filled in by
        the generate loop. Raises GeneratorError, or WorkerFault where only a new process can go on.
        """

    def close(self) -> None:
        """Let go; may be called twice."""


@runtime_checkable
class Advances(Protocol):
    """A generator that can move without drawing, so that a film may begin in the middle."""

    def advance(self, request: FrameRequest, state: Any) -> Any:
        """Return the state after ``request`` as far as it can be known without a picture.

        What only pictures carry (trails, say) comes back within ``lead_in_s`` of drawn ones. Its class may have
        ``stays(request, model)``, which tells why it cannot be moved there after all, or nothing.
        """


@runtime_checkable
class Resumable(Protocol):
    """A generator whose state can be written down, so that a film goes on where it was broken off."""

    def checkpoint(self, state: Any) -> bytes:
        """Return a state as bytes; no pickle."""

    def resume(self, data: bytes) -> Any:
        """Return the state of such bytes. Raises GeneratorError for another version, model or size."""


class Input(Protocol):
    """Brings pictures from outside, to start from. Opened, read and closed on one thread of its own."""

    def open(self) -> None:
        """Get ready. A source that is not there yet is looked for as long as it takes. Raises InputError."""

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture as soon as there is one since the last call, or None after about ``wait_s``.

        Raises InputError.
        """

    def close(self) -> None:
        """Let go; may be called twice."""


class Output(Protocol):
    """Takes pictures away. Opened, fed and closed on one thread of its own; a frame's pixels are read-only.

    An output may also have ``figures() -> Mapping[str, float]``: what it knows of its receivers.
    """

    def open(self) -> None:
        """Get ready. Raises OutputError."""

    def send(self, frame: Frame) -> None:
        """Send one frame. Raises OutputError."""

    def close(self) -> None:
        """Let go; may be called twice."""


class Recogniser(Protocol):
    """Writes down what is said. Opened, asked and closed on one thread; libraries are imported by ``open``."""

    def open(self) -> None:
        """Load what it needs. Raises DeviceError."""

    def languages(self) -> tuple[str, ...]:
        """Return the codes of the languages that it understands."""

    def decode(
        self, sound: Float32, language: str = "", context: ContextName = "short", hints: Sequence[str] = ()
    ) -> Hypothesis:
        """Return what is said in mono float32 sound at 16 kHz, at most 28 s; an empty ``language`` is found out.

        ``context`` says how much time there is: ``partial`` while somebody speaks, ``short`` right behind it, ``full``.
        ``hints`` are words that are likely to be said.
        """

    def close(self) -> None:
        """Let go; may be called twice."""


class Sending(BaseModel):
    """What every output is told besides its own options: what it sends, how large and how often."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    label: str = Field("", pattern=r"^[A-Za-z0-9_-]{0,40}$", description="by which it is removed; empty: its kind")
    feed: Literal["program", "preview"] = Field("program", description="what is on air, or the deck that is not")
    size: str = Field("", pattern=r"^$|^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$", description="WIDTHxHEIGHT; empty: as made")
    fps: float = Field(0.0, ge=0.0, le=240.0, description="frames a second, at most; 0: as delivered")

    @field_validator("fps")
    @classmethod
    def _sensible(cls, fps: float) -> float:
        if 0.0 < fps < SLOWEST_FPS:
            raise ValueError(f"at least {SLOWEST_FPS:g} frames a second, or 0 for as many as are delivered")
        return fps

    @field_validator("size")
    @classmethod
    def _holds(cls, size: str) -> str:
        width, _, height = size.partition("x")
        if height and int(width) * int(height) > MOST_PIXELS:
            raise ValueError(f"a picture has at most {MOST_PIXELS} pixels (7680x4320)")
        return size

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, or None for those of the picture."""
        width, _, height = self.size.partition("x")
        return (int(width), int(height)) if height else None


@cache
def doors(room: Group) -> dict[str, EntryPoint]:
    """Return the entry point of each kind. Ours goes before a stranger's; of two strangers' neither is taken."""
    return {kind: points[0] for kind, points in _claims(room).items() if len(points) == 1}


@cache
def clashes(room: Group) -> tuple[str, ...]:
    """Say which kinds are brought by more than one package."""
    rows = []
    for kind, by in _owners(room).items():
        others = " and ".join(sorted(owner for owner in by if owner != OURS))
        if OURS in by and others:
            rows.append(f"{kind}: {others} brings one of that kind too; ours is taken")
        elif len(by) > 1:
            rows.append(f"{kind}: {others} both bring one of that kind; neither is taken")
    return tuple(rows)


def _claims(room: Group) -> dict[str, list[EntryPoint]]:
    return {kind: [by[OURS]] if OURS in by else list(by.values()) for kind, by in _owners(room).items()}


def _owners(room: Group) -> dict[str, dict[str, EntryPoint]]:
    claims: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=f"vjserver.{room}"):
        claims.setdefault(point.name, {})[_owner(point)] = point
    return dict(sorted(claims.items()))


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def kinds(room: Room) -> tuple[str, ...]:
    """Return the names of the doors of a room, sorted."""
    return tuple(doors(room))


@cache
def find(room: Room, kind: str) -> Any:
    """Return the class of a door. Raises ConfigError for an unknown kind, VJError if its module cannot be imported."""
    point = doors(room).get(kind)
    if point is not None:
        try:
            return point.load()
        except (Exception, SystemExit) as error:
            why = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            raise VJError(f"{room[:-1]} {kind!r} cannot be loaded: {why}") from error
    twice = next((why for why in clashes(room) if why.startswith(f"{kind}: ")), "")
    if twice:
        raise ConfigError(f"{room[:-1]} {twice}")
    raise ConfigError(f"unknown {room[:-1]} {kind!r}{nearest(kind, kinds(room))}; known: {', '.join(kinds(room))}")


def open_door(room: Room, config: Mapping[str, Any]) -> Any:
    """Return a generator or an input of its configuration, opened. Raises ConfigError, and what its ``open`` raises."""
    door = find(room, str(config["kind"]))(options_of(room, config))
    door.open()
    return door


def options_of(room: Room, config: Mapping[str, Any]) -> BaseModel:
    """Check a door's configuration, ``{"kind": ..., option: value, ...}``, and return its options.

    Raises ConfigError naming the option, what was given and what is allowed.
    """
    kind = str(config.get("kind", ""))
    model: type[BaseModel] = find(room, kind).Options
    common = {"kind"}
    if room == "outputs":
        sending_of(config)
        common |= Sending.model_fields.keys() - model.model_fields.keys()
    given = {key: value for key, value in config.items() if key not in common}
    return _validated(model, given, f"{room[:-1]} {kind!r}")


def sending_of(config: Mapping[str, Any]) -> Sending:
    """Return what every output is told, from an output's configuration. Raises ConfigError."""
    return _validated(Sending, config, f"output {str(config.get('kind', ''))!r}")


def _validated(model: type[_Model], given: Mapping[str, Any], what: str) -> _Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = error.errors()
        fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])  # a misspelt key is also missing
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            known = list(model.model_fields)
            raise ConfigError(
                f"{what}: unknown key {key!r}{nearest(key, known)}; allowed: {', '.join(known)}"
            ) from None
        said = fault["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{what}: {key}: {said}: got {str(fault['input'])[:80]!r}") from None
