"""The show file: TOML text goes in, a checked ``Show`` comes out. Everything has a default; an empty file is a show."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

import vjserver
from vjserver.controls.link import LinkMode, LinkOptions
from vjserver.controls.midi import MidiOptions
from vjserver.outputs.osc import OscTargetOptions
from vjserver.ports import Room, options_of
from vjserver.runtime.files import data_folder
from vjserver.show.cues import Cue, CueList
from vjserver.show.outputs import MAX_OUTPUTS, RECORD, rows_of
from vjserver.show.preset import Bank, Preset, parse_preset, parse_toml
from vjserver.show.state import Deliver, ShowState, Sync
from vjserver.stages.analysis import EarOptions
from vjserver.stages.shelf import MINE
from vjserver.types.errors import ConfigError

Door = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VideoOptions(_Strict):
    """Size and rates of the picture."""

    width: int = Field(1280, ge=64, le=4096, multiple_of=2)
    height: int = Field(720, ge=64, le=4096, multiple_of=2)
    fps: float = Field(30.0, ge=1.0, le=240.0, description="pictures made a second, at most")
    output_fps: float = Field(60.0, ge=10.0, le=240.0, description="pictures delivered a second")
    lookahead_ms: float | None = Field(
        None, ge=0.0, le=500.0, description="pictures are made for a time so far ahead; None: as long as they take"
    )


class DeliverOptions(_Strict):
    """What is shown between generated pictures, and when none come."""

    between: Literal["repeat", "crossfade", "flow"] = "repeat"
    back: Literal["now", "bar", "operator"] = Field("bar", description="when generated pictures return")
    hold_s: float = Field(2.0, ge=0.1, le=60.0, description="how long the last picture is held before the safe loop")
    safe: str = Field("pattern", description="the safe loop: pattern, drift, or the path of a clip")
    black_after_s: float | None = Field(None, ge=0.0, description="how long the safe loop plays before black; None: on")


class OscOptions(_Strict):
    """Where messages come in and where triggers go."""

    host: str = Field("127.0.0.1", description="interface to listen on; 127.0.0.1 is this machine only")
    port: int = Field(9010, ge=1, le=65535)
    allow: tuple[str, ...] = Field((), description="who is heard: addresses or networks (192.168.1.0/24); none: all")
    most_per_s: int = Field(50_000, ge=100, description="messages a second that are taken from one machine")
    targets: tuple[OscTargetOptions, ...] = (
        OscTargetOptions(port=9011, kind="numbers"),
        OscTargetOptions(port=9012, kind="text"),
    )

    @field_validator("allow")
    @classmethod
    def _networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ValueError(f"an address or a network such as 192.168.1.0/24: got {text[:40]!r}") from None
        return texts


class WebOptions(_Strict):
    """The panel in a browser, and OSCQuery."""

    on: bool = True
    port: int = Field(9020, ge=1, le=65535)
    announce: bool = Field(True, description="let other programs find OSC and OSCQuery by zeroconf")


def _checked(room: Room, door: Door) -> Door:
    try:
        options_of(room, door)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return door


class Show(_Strict):
    """Everything that a running server is told at its start."""

    preset: str | int = Field(1, description="the first preset: its name, or its number from 1")
    presets: Path | None = Field(None, description="a folder of presets of your own, played after ours")
    source: Door = {"kind": "device"}
    ear: EarOptions = EarOptions()
    link: LinkOptions = LinkOptions()
    video: VideoOptions = VideoOptions()
    generators: dict[str, Door] = {}
    inputs: dict[str, Door] = {}
    outputs: tuple[Door, ...] = ({"kind": "sharedmem"}, {"kind": "zmq"}, {"kind": "ndi"})
    record: Door = {}
    deliver: DeliverOptions = DeliverOptions()
    osc: OscOptions = OscOptions()
    web: WebOptions = WebOptions()
    midi: MidiOptions = MidiOptions()
    cues: tuple[Cue, ...] = Field((), max_length=500, description="what /vj/cue/go calls, one after another")

    @field_validator("source")
    @classmethod
    def _known_source(cls, door: Door) -> Door:
        return _checked("sources", door)

    @field_validator("outputs")
    @classmethod
    def _known_outputs(cls, doors: tuple[Door, ...]) -> tuple[Door, ...]:
        if len(doors) > MAX_OUTPUTS:
            raise ValueError(f"there can be {MAX_OUTPUTS} outputs: got {len(doors)}")
        return tuple(_checked("outputs", door) for door in doors)

    @field_validator("record")
    @classmethod
    def _known_record(cls, options: Door) -> Door:
        _checked("outputs", {"kind": RECORD, **options})
        return options

    @field_validator("inputs")
    @classmethod
    def _known_inputs(cls, doors: dict[str, Door]) -> dict[str, Door]:
        return {name: _checked("inputs", door) for name, door in doors.items()}

    @field_validator("cues")
    @classmethod
    def _cues_of_their_own(cls, cues: tuple[Cue, ...]) -> tuple[Cue, ...]:
        try:
            CueList(cues)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return cues

    @field_validator("generators")
    @classmethod
    def _known_generators(cls, doors: dict[str, Door]) -> dict[str, Door]:
        for kind, options in doors.items():
            _checked("generators", {"kind": kind, **options})
        return doors


def first_state(show: Show) -> ShowState:
    """Return the state in which a show begins, its preset aside."""
    d, lookahead_ms = show.deliver, show.video.lookahead_ms
    source: dict[LinkMode, str] = {"follow": "link"}
    return ShowState(
        sync=Sync(source=source.get(show.link.mode, "auto"), link=show.link.mode),
        lookahead_ms=-1.0 if lookahead_ms is None else lookahead_ms,
        deliver=Deliver(fps=show.video.output_fps, between=d.between, back=d.back),
        outputs=rows_of(show.outputs),
    )


def load_show(path: Path | None) -> Show:
    """Read a show file, or return the defaults. Raises ConfigError with file, line, key and what is allowed."""
    if path is None:
        return Show()
    return parse_toml(Show, _read(path), str(path))


def load_bank(folder: Path | None = None) -> Bank:
    """Return our presets, then those of ``folder``, then the user's own, each in the order of their file names.

    Each folder is a bank: ours is ``vjserver``, the user's ``mine``; folders inside ``folder`` are banks too. Raises
    ConfigError.
    """
    banks = [("vjserver", shipped("presets"))]
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"no such folder of presets: {folder}")
        banks += [(path.name, path) for path in (folder.resolve(), *sorted(p for p in folder.iterdir() if p.is_dir()))]
    mine = data_folder() / "presets"
    if mine.is_dir() and mine.resolve() not in [path.resolve() for _, path in banks]:
        banks.append((MINE, mine))
    rows = [(bank, path) for bank, inside in banks for path in sorted(inside.glob("*.toml"))]
    presets = [(path.stem, parse_preset(_read(path), path.name)) for _, path in rows]
    return Bank(presets, [bank for bank, _ in rows])


def shipped(name: str) -> Path:
    """Return a folder that comes with us: in the package once installed, at the top of a checkout."""
    package = Path(vjserver.__file__).parent
    return package / name if (package / name).is_dir() else package.parent / name


def check_preset(path: Path) -> Preset:
    """Read one preset file. Raises ConfigError."""
    return parse_preset(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors put a mark in front
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
