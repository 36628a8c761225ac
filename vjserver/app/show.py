"""The show file: TOML text goes in, a checked ``Show`` comes out. Everything has a default; an empty file is a show."""

import os
import re
import stat
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vjserver.controls.link import LinkMode, LinkOptions
from vjserver.controls.midi import MidiOptions
from vjserver.dsp.options import EarOptions
from vjserver.outputs.osc import OscTargetOptions
from vjserver.ports import Room, find, options_of
from vjserver.runtime.files import at_home
from vjserver.runtime.installed import installed
from vjserver.show.addresses import FALLBACK_GENERATOR, check_language
from vjserver.show.cues import Cue, CueList
from vjserver.show.outputs import MAX_OUTPUTS, RECORD, rows_of
from vjserver.show.presettext import parse_toml
from vjserver.show.registry import Registry
from vjserver.show.state import Deliver, ShowState, Speech, Sync
from vjserver.types.errors import ConfigError

Door = dict[str, Any]
SPEECH = ("on", "mode", "source", "policy", "language", "bars", "hold_s", "crowd")
"""What of ``[speech]`` is where the show begins, and may be played."""
NAME = "vjserver"
SHOW_FILE = "show.toml"
MAX_SIDE = 8192
ZMQ_ADDRESS = "tcp://127.0.0.1:9030"
LARGEST = 1 << 20
"""Bytes of a show file or preset."""
# What is called after the server where the show says nothing else: by kind of output, the option.
LEAST_PORT, MOST_PORT, BESIDE = 1024, 65535, 100
CALLED = {"ndi": "name", "spout": "name", "syphon": "name", "touchshm": "name", "sharedmem": "stream"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VideoOptions(_Strict):
    """Size and rates of the picture."""

    width: int = Field(1280, ge=16, le=MAX_SIDE, multiple_of=2)
    height: int = Field(720, ge=16, le=MAX_SIDE, multiple_of=2)
    fps: float = Field(30.0, ge=1.0, le=240.0, description="pictures made a second, at most")
    output_fps: float = Field(60.0, ge=10.0, le=240.0, description="pictures delivered a second")
    standby: bool = Field(True, description="processes that stand by, so that picture and beat outlive a fall")
    lookahead_ms: float | None = Field(
        None, ge=0.0, le=500.0, description="pictures are made for a time so far ahead; None: as long as they take"
    )


class DeliverOptions(_Strict):
    """What is shown between generated pictures, and when none come."""

    between: Literal["repeat", "crossfade", "flow"] = "repeat"
    back: Literal["now", "bar", "operator"] = Field("bar", description="when generated pictures return")
    hold_s: float = Field(2.0, ge=0.1, le=60.0, description="how long the last picture is held before the safe loop")
    safe: str = Field(FALLBACK_GENERATOR, description="the safe loop: pattern, drift, or the path of a clip")
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


def _checked(room: Room, door: Door) -> Door:
    try:
        options_of(room, door)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return door


class SpeechOptions(_Strict):
    """What is said into a microphone becomes the picture."""

    on: bool = Field(False, description="listen from the start; /vj/speech/on does it later")
    microphone: str | int | None = Field(None, description="part of its name, or its index; none: the system's own")
    recogniser: Door = Field(
        {"kind": "whisper"}, description="who writes it down: { kind = 'whisper', model = 'base' }"
    )
    mode: Literal["open", "push"] = Field("open", description="all the time, or while /vj/speech/talk is held")
    source: Literal["microphone", "music"] = Field("microphone", description="music: a singer becomes prompts")
    policy: Literal["replace", "queue", "blend", "push"] = "replace"
    language: str = Field("auto", max_length=12, description="auto, or a code such as en, es, de")
    bars: int = Field(8, ge=1, le=256, description="how long a phrase fades that blends in")
    hold_s: float = Field(60.0, ge=0.0, le=3600.0, description="then the typed prompt is back; 0: it stays")
    crowd: bool = Field(False, description="phrases from the page /speak wait for approval")
    wake: str = Field("computer", max_length=40, description="the word before a stage command; empty: no commands")
    words: tuple[str, ...] = Field((), max_length=100, description="names and words that are likely to be said")
    refuse: tuple[str, ...] = Field((), description="words that are never shown, besides ours")
    keep_sound: bool = Field(False, description="keep what was said with its card; off: no sound is ever kept")
    subtitles: bool = Field(True, description="an .srt file beside recordings and takes")

    @field_validator("language")
    @classmethod
    def _known_language(cls, code: str) -> str:
        try:
            check_language(code, "language")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return code.strip().lower()

    @field_validator("recogniser", mode="before")
    @classmethod
    def _by_name(cls, door: object) -> object:
        return {"kind": door} if isinstance(door, str) else door

    @field_validator("recogniser")
    @classmethod
    def _known_recogniser(cls, door: Door) -> Door:
        return _checked("recognisers", door)


class WebOptions(_Strict):
    """The panel in a browser, and OSCQuery."""

    on: bool = True
    port: int = Field(9020, ge=1, le=65535)
    secure_port: int = Field(9021, ge=1, le=65535, description="https for phones, with vjserver run --lan")
    announce: bool = Field(True, description="let other programs find OSC and OSCQuery by zeroconf")
    hosts: tuple[str, ...] = Field(
        (),
        max_length=32,
        description="names under which the panel is reached besides: a tunnel, a proxy (vj.club:8080)",
    )


def config_folder() -> Path:
    """Return the folder of the user's own show file, under ``$VJSERVER_DATA`` or where the system keeps settings."""
    own = os.environ.get("VJSERVER_DATA")
    return Path(own) if own else user_config_path("vjserver", appauthor=False)


def own_show() -> Path | None:
    """Return the user's own show file, which is run where none is named; None where there is none."""
    path = config_folder() / SHOW_FILE
    return path if path.is_file() else None


class Show(_Strict):
    """Everything that a running server is told at its start."""

    name: str = Field(
        NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$", description="by which other programs find this server"
    )
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
    speech: SpeechOptions = SpeechOptions()
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
        speech=Speech(**{name: getattr(show.speech, name) for name in SPEECH}),
    )


def filled(show: Show, config: Mapping[str, Any]) -> Door:
    """Return an output's configuration with the name by which it is found, where a second server has one of its own."""
    key = CALLED.get(str(config["kind"]))
    if key is None or key in config or show.name == NAME:
        return dict(config)
    own = show.name.removeprefix(f"{NAME}-").replace(" ", "-")
    if key == "stream":
        return {**config, key: f"program-{own}"[:20]}
    return {**config, key: re.sub(r"\W", "_", show.name) if config["kind"] == "touchshm" else show.name}


def shifted(show: Show, base: int) -> Show:
    """Return the show with all its ports moved, so that OSC comes in at ``base``, and names of its own.

    Two servers run beside each other so. Raises ConfigError for a base that would move a port out of what there is.
    """
    by = base - show.osc.port
    low, high = _bases(show)
    if not low <= base <= high:
        raise ConfigError(f"--port-base must be in {low}..{high} for this show, whose ports move alike: got {base}")
    osc = show.osc.model_copy(
        update={"port": base, "targets": tuple(t.model_copy(update={"port": t.port + by}) for t in show.osc.targets)}
    )
    outputs = tuple(_moved(door, by, base) for door in show.outputs)
    name = f"{show.name}-{base}"
    web = show.web.model_copy(update={"port": show.web.port + by, "secure_port": show.web.secure_port + by})
    return show.model_copy(update={"name": name, "osc": osc, "web": web, "outputs": outputs})


def free_base(show: Show) -> int:
    """Return a base for a second server beside one that plays this show."""
    base = show.osc.port + BESIDE
    return base if base <= _bases(show)[1] else show.osc.port - BESIDE


def _bases(show: Show) -> tuple[int, int]:
    """Return the lowest and the highest base with which every port of a show is one."""
    ports = [show.osc.port, show.web.port, show.web.secure_port, *(target.port for target in show.osc.targets)]
    ports += [port for door in show.outputs if (port := _port_of(door))]
    return LEAST_PORT + show.osc.port - min(ports), MOST_PORT + show.osc.port - max(ports)


def _moved(door: Door, by: int, base: int) -> Door:
    """Return an output with its TCP port moved, and a name of its own where the show gave it one."""
    key = CALLED.get(str(door["kind"]), "")
    if key in door:
        end = f"_{base}" if door["kind"] == "touchshm" else f"-{base}"
        called = str(door[key])
        return {**door, key: called[: 20 - len(end)] + end if key == "stream" else called + end}
    port = _port_of(door)
    if not port:
        return door
    head = str(door.get("address", ZMQ_ADDRESS)).rpartition(":")[0]
    return {**door, "address": f"{head}:{port + by}"}


def _port_of(door: Door) -> int:
    """Return the TCP port that an output opens, 0 where it opens none."""
    address = str(door.get("address", ZMQ_ADDRESS)) if door["kind"] == "zmq" else ""
    port = address.rpartition(":")[2]
    return int(port) if address.startswith("tcp:") and port.isdigit() else 0


def load_show(path: Path | None, registry: Registry | None = None) -> Show:
    """Read a show file, or return the defaults. Raises ConfigError with file, line, key and what is allowed.

    ``registry`` is what there is to be played, here and below; without one it is what is installed.
    """
    if path is None:
        return Show()
    return anchored(parse_toml(Show, read_file(path), str(path), registry or installed()), path.resolve().parent)


def read_file(path: Path) -> str:
    """Return what a show or preset file says. Raises ConfigError."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(f"{path} is no file")
        if about.st_size > LARGEST:
            raise ConfigError(f"{path} has {about.st_size} bytes, and at most {LARGEST} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return decoded(data, str(path))


def decoded(data: bytes, where: str) -> str:
    """Return the text of a file; editors of Windows write UTF-16, or a mark in front. Raises ConfigError."""
    kind = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(kind)
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not UTF-8 text: save it as UTF-8") from None


def anchored(show: Show, folder: Path) -> Show:
    """Return a show whose paths go by the folder of its file, not by where the program was started; ``~`` is home."""

    def place(path: Any) -> Any:
        text = str(path)
        if not text or "://" in text:
            return path
        return folder / at_home(Path(text))

    def door(room: Room, config: Door, kind: str = "") -> Door:
        fields = find(room, kind or str(config["kind"])).Options.model_fields
        moved = dict(config)
        for key in config.keys() & fields.keys():
            note = str(fields[key].annotation)
            if fields[key].annotation is Path:
                moved[key] = place(config[key])
            elif note.startswith("tuple[") and "Path" in note:
                moved[key] = tuple(place(one) for one in config[key])
            elif key == "model" and _is_path(str(config[key])):
                moved[key] = str(place(config[key]))
        return moved

    update = {
        "presets": place(show.presets) if show.presets is not None else None,
        "source": door("sources", show.source),
        "inputs": {name: door("inputs", one) for name, one in show.inputs.items()},
        "outputs": tuple(door("outputs", one) for one in show.outputs),
        "record": door("outputs", show.record, RECORD),
        "generators": {kind: door("generators", one, kind) for kind, one in show.generators.items()},
    }
    if show.deliver.safe not in (FALLBACK_GENERATOR, "drift"):
        update["deliver"] = show.deliver.model_copy(update={"safe": str(place(show.deliver.safe))})
    if show.midi.maps:
        update["midi"] = show.midi.model_copy(update={"maps": str(place(show.midi.maps))})
    return show.model_copy(update=update)


def _is_path(model: str) -> bool:
    """Tell whether a model is named by a folder, not by its name in the store."""
    return model.startswith(("~", ".")) or "/" in model or "\\" in model
