"""The patches, declared: operators, parameters, wiring and notes. Everything else is made from this.

A patch is one Base COMP. Its custom parameters come from vjserver's registry, so that a slider here and an address
there cannot drift apart. Positions are in TouchDesigner's network units: x to the right, y up.
"""

from dataclasses import dataclass, field, replace
from json import dumps
from pathlib import Path

from vjserver.runtime.installed import shipped
from vjserver.show.addresses import BETWEEN, COMMON, GENRES, N_MACROS, N_PROMPTS, PARAM, QUANTISE, SOURCES
from vjserver.show.registry import COMMON_ONLY, Registry
from vjserver.types.knobs import Parameter

SCRIPTS = Path(__file__).parent / "scripts"
ENTRIES = COMMON_ONLY.entries
Value = str | int | float | bool


@dataclass(frozen=True)
class Par:
    """A custom parameter: ``style`` is the name of TouchDesigner's ``append`` method without it.

    ``address`` is where its value is sent, after the values of the parameters named in ``args`` (``=text``: that text).
    """

    name: str
    label: str
    style: str
    default: Value = 0
    low: float = 0.0
    high: float = 1.0
    menu: tuple[tuple[str, str], ...] = ()
    help: str = ""
    address: str = ""
    args: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True)
class Node:
    """An operator: ``pars`` are constants, ``exprs`` Python expressions, ``inputs`` the names of what is wired in.

    ``text`` is what a DAT holds; where ``yours`` is set, only until somebody changes it. ``note`` says what it is for.
    """

    name: str
    kind: str
    x: int
    y: int
    pars: dict[str, Value] = field(default_factory=dict)
    exprs: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    text: str = ""
    note: str = ""
    yours: bool = False


@dataclass(frozen=True)
class Patch:
    """A component: custom pages by name, operators, and what it is for."""

    name: str
    title: str
    doc: str
    pages: dict[str, tuple[Par, ...]]
    nodes: tuple[Node, ...]

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Return address and arguments by parameter."""
        return {p.name: [p.address, *p.args] for page in self.pages.values() for p in page if p.address}


def _menu(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name.replace("_", " ")) for name in names)


TRANSPORTS = (
    ("ndi", "NDI"),
    ("spout", "Spout / Syphon"),
    ("sharedmem", "Shared memory (Script TOP)"),
    ("touchshm", "Shared Mem In TOP"),
)

# -- pages -------------------------------------------------------------------------------------------------------

CONNECT = (
    Par("Status", "Status", "Str", "not connected yet", help="what the watchdog sees", read_only=True),
    Par("Transport", "Transport", "Menu", "ndi", menu=TRANSPORTS, help="how pictures come"),
    Par("Host", "Host", "Str", "127.0.0.1", help="where vjserver runs"),
    Par("Oscport", "OSC in of vjserver", "Int", 9010, 1, 65535),
    Par("Numbersport", "Numbers come to", "Int", 9011, 1, 65535),
    Par("Textsport", "Texts come to", "Int", 9012, 1, 65535),
    Par("Valuesport", "Values come to", "Int", 9013, 1, 65535, help="sliders here follow the server; one port a patch"),
    Par("Ndiname", "NDI source", "Str", "vjserver", help="a name on this machine, or MACHINE (name)"),
    Par("Extraips", "NDI extra IPs", "Str", "127.0.0.1", help="asked directly where mDNS does not reach"),
    Par("Spoutname", "Spout / Syphon sender", "Str", "vjserver"),
    Par("Stream", "Shared-memory stream", "Str", "program"),
    Par("Shmname", "Shared Mem name", "Str", "vjserver"),
    Par("Sendall", "Send what was changed", "Pulse", help="for a server that was started after this patch"),
)


def _prompts() -> tuple[Par, ...]:
    rows: list[Par] = []
    for i in range(1, N_PROMPTS + 1):
        deck = "deck A" if i <= N_PROMPTS // 2 else "deck B"
        text, weight = f"/vj/prompt/{i}/text", f"/vj/prompt/{i}/weight"
        rows.append(Par(f"Prompt{i}", f"Prompt {i}", "Str", "", help=f"what the picture is of ({deck})", address=text))
        start = float(ENTRIES[weight].default or 0.0)
        rows.append(Par(f"Weight{i}", f"Weight {i}", "Float", start, help=ENTRIES[weight].doc, address=weight))
    rows.append(Par("Negative", "Negative", "Str", "", help=ENTRIES["/vj/negative"].doc, address="/vj/negative"))
    rows.append(Par("Seed", "Seed", "Int", 1, 0, 10000, help=ENTRIES["/vj/seed"].doc, address="/vj/seed"))
    rows.append(Par("Nextseed", "Next seed", "Pulse", address="/vj/seed/next"))
    beats = ENTRIES["/vj/travel/beats"]
    rows.append(Par("Travelbeats", "Travel, beats", "Float", 0.0, 0, 64, help=beats.doc, address=beats.address))
    return tuple(rows)


PRESET = (
    Par("Presetname", "Plays", "Str", "", help="told by the server", read_only=True),
    Par("Preset", "Preset", "Str", "1", help="a number from 1, or a name"),
    Par("Presetgo", "Go", "Pulse", address="/vj/preset/go", args=("Preset",)),
    Par("Presetnext", "Next", "Pulse", address="/vj/preset/next"),
    Par("Presetprev", "Previous", "Pulse", address="/vj/preset/prev"),
    Par("Quantise", "Change on", "Menu", "none", menu=_menu(*QUANTISE), help=ENTRIES["/vj/quantise"].doc,
        address="/vj/quantise"),
    Par("Morphbeats", "Morph, beats", "Float", 0.0, 0, 64, help=ENTRIES["/vj/morph/beats"].doc,
        address="/vj/morph/beats"),
    Par("Autopilot", "Autopilot", "Toggle", False, help=ENTRIES["/vj/autopilot"].doc, address="/vj/autopilot"),
    Par("Cuego", "Next cue", "Pulse", address="/vj/cue/go"),
    Par("Undo", "Undo", "Pulse", help=ENTRIES["/vj/undo"].doc, address="/vj/undo"),
    *(Par(f"Macro{n}", f"Macro {n}", "Float", 0.0, help=ENTRIES[f"/vj/macro/{n}"].doc, address=f"/vj/macro/{n}")
      for n in range(1, N_MACROS + 1)),
)  # fmt: skip


def _look(name: str, label: str, p: Parameter, address: str) -> Par:
    span = ", ".join(f"{i} {one}" for i, one in enumerate(p.choices)) or f"{p.low:g}..{p.high:g} {p.unit}"
    about = f"{p.doc} (0..1 is {span})".replace(" )", ")")
    return Par(name, label, "Float", round(p.start, 4), help=about, address=address)


def _called(key: str) -> tuple[str, str]:
    """Return the name and the label of a knob's parameter: one capital letter, then small ones and digits."""
    return key.replace("_", "").replace("/", "").capitalize(), key.replace("_", " ").replace("/", " ").capitalize()


def _looks(registry: Registry) -> tuple[Par, ...]:
    """Return the knobs that everybody knows: the common ones, and those with an address from before."""
    keys = {**{name: name for name in COMMON}, **registry.aliases}
    return tuple(_look(*_called(name), registry.parameters[key], f"{PARAM}{name}") for name, key in keys.items())


def _own_pages(registry: Registry, taken: set[str]) -> dict[str, tuple[Par, ...]]:
    """Return a page for each generator that has knobs besides those; ``taken`` names are given a digit more."""
    pages: dict[str, tuple[Par, ...]] = {}
    known = set(registry.aliases.values())
    for kind, info in registry.infos.items():
        rows = []
        for knob in info.parameters:
            key = f"{kind}/{knob.name}"
            if key in known:
                continue
            name, label = _called(key)
            free = next(one for one in (name, *(f"{name}{i}" for i in range(2, 99))) if one not in taken)
            taken.add(free)
            rows.append(_look(free, label, knob, f"{PARAM}{key}"))
        if rows:
            pages[kind.replace("_", "").capitalize()] = tuple(rows)
    return pages


MASTER = (
    Par("Fade", "Master fade", "Float", 1.0, help=ENTRIES["/vj/master/fade"].doc, address="/vj/master/fade"),
    Par("Blackout", "Blackout", "Toggle", False, address="/vj/master/blackout"),
    Par("Freeze", "Freeze", "Toggle", False, address="/vj/master/freeze"),
    Par("Safe", "Safe loop", "Toggle", False, help=ENTRIES["/vj/master/safe"].doc, address="/vj/master/safe"),
    Par("Panic", "Panic", "Pulse", help=ENTRIES["/vj/master/panic"].doc, address="/vj/master/panic"),
    Par("Record", "Record", "Toggle", False, help=ENTRIES["/vj/record"].doc, address="/vj/record"),
    Par("Between", "Between pictures", "Menu", "repeat", menu=_menu(*BETWEEN), address="/vj/deliver/between",
        help=ENTRIES["/vj/deliver/between"].doc),
    Par("Returnlive", "Return from safe loop", "Pulse", address="/vj/deliver/return"),
)  # fmt: skip

TEMPO = (
    Par("Tap", "Tap", "Pulse", address="/vj/tempo/tap"),
    Par("Resync", "Now is the one", "Pulse", address="/vj/tempo/resync"),
    Par("Double", "x 2", "Pulse", address="/vj/tempo/double"),
    Par("Half", "/ 2", "Pulse", address="/vj/tempo/half"),
    Par("Flip", "Off-beat", "Pulse", address="/vj/tempo/flip"),
    Par("Nudgeby", "Nudge by, ms", "Float", 10.0, -100, 100),
    Par("Nudge", "Nudge", "Pulse", address="/vj/tempo/nudge", args=("Nudgeby",)),
    Par("Auto", "Follow the music", "Pulse", address="/vj/tempo/auto"),
    Par(
        "Temposource",
        "Who keeps the beat",
        "Menu",
        "auto",
        menu=_menu(*SOURCES),
        address="/vj/tempo/source",
        help=ENTRIES["/vj/tempo/source"].doc,
    ),
    Par("Tempolock", "Hold tempo", "Toggle", False, address="/vj/tempo/lock"),
    Par("Genre", "Genre", "Menu", "any", menu=_menu(*GENRES), address="/vj/tempo/genre"),
)

HUD = (Par("Hud", "Head-up display", "Toggle", True, help="off: it shows only that the server is lost"),)

BEAT = (
    Par("Trail", "Trail", "Float", 0.0, help="how much of the last picture stays"),
    Par("Trailscale", "Trail growth", "Float", 1.01, 0.9, 1.1, help="what stays grows by so much in a frame"),
    Par("Trailturn", "Trail turn, degrees", "Float", 0.0, -5, 5),
    Par("Punch", "Punch on the kick", "Float", 0.3, help="the picture jumps in on the kick drum"),
    Par("Glow", "Bloom", "Float", 0.3, help="light spills over, more on the beat"),
    Par("Glowsize", "Bloom size", "Int", 40, 1, 200),
    Par("Hit", "Flash on the snare", "Float", 0.2),
    Par("Second", "Second source", "Float", 0.0, help="crossfade to what comes into the first input"),
    Par("Gamma", "Gamma", "Float", 1.0, 0.3, 3),
    Par("Grade", "Contrast", "Float", 1.0, 0, 2),
    Par("Lift", "Black level", "Float", 0.0, 0, 0.5),
    *HUD,
)


def _pages(*more: tuple[str, tuple[Par, ...]]) -> dict[str, tuple[Par, ...]]:
    pages = {"Connect": CONNECT, **dict(more)}
    return pages | {"Prompt": _prompts(), "Preset": PRESET, "Params": (), "Master": MASTER, "Tempo": TEMPO}


# -- operators ---------------------------------------------------------------------------------------------------

_TRANSPORT = "parent().par.Transport.eval()"
_HIT = "op('signals').module.pulse(op('beat'), 'vj/{}', {})"
MIDI_MAP = (
    '{"s1": "Fade", "s2": "Crossfade", "s3": "Weight1", "s4": "Weight2", "s5": "Zoom", "s6": "Rotate", "s7": "Warp", '
    '"s8": "Strength", "b1": "Tap", "b2": "Presetnext", "b3": "Nextseed", "b4": "Freeze", "b8": "Blackout"}'
)


def _script(name: str) -> str:
    return (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")


def receiver(prefix: str = "", x: int = 0, y: int = 0, name: str = "Ndiname") -> list[Node]:
    """Return the operators that bring one stream in by the transport of choice, ending in ``{prefix}picture``."""
    callbacks = Node(f"{prefix}frame_reader", "textDAT", x, y - 390, text=_script("frame_reader"), note="callbacks")
    script = Node(f"{prefix}script_in", "scriptTOP", x, y - 260, {"callbacks": callbacks.name}, note="vjserver's ring")
    return [
        Node(f"{prefix}ndi_in", "ndiinTOP", x, y, {"inputpixelformat": "fixed8"},
             {"name": f"op('signals').module.ndi_name(parent().par.{name}.eval())",
              "extraips": "parent().par.Extraips.eval()", "active": f"{_TRANSPORT} == 'ndi'"},
             note="any machine on the network"),
        Node(f"{prefix}spout_in", "syphonspoutinTOP", x, y - 130, {"usespoutactivesender": False},
             {"sendername": "parent().par.Spoutname.eval()"}, note="same GPU: nothing is copied"),
        script, callbacks,
        Node(f"{prefix}shm_in", "sharedmeminTOP", x, y - 520, {"memtype": "local"},
             {"name": "parent().par.Shmname.eval()"}, note="Windows, paid licences"),
        Node(f"{prefix}transport", "switchTOP", x + 200, y - 130, {},
             {"index": "parent().par.Transport.menuIndex"},
             tuple(f"{prefix}{n}" for n in ("ndi_in", "spout_in", "script_in", "shm_in"))),
        Node(f"{prefix}picture", "nullTOP", x + 400, y - 130, inputs=(f"{prefix}transport",), note="what came"),
    ]  # fmt: skip


def _control(addresses: str) -> list[Node]:
    """Return the operators that talk with the server, and the ones behind them."""
    return [
        Node("osc_numbers", "oscinCHOP", 0, -800, {}, {"port": "parent().par.Numbersport.eval()"},
             note="beats, drums, bands, spectrum"),
        Node("beat", "nullCHOP", 200, -800, inputs=("osc_numbers",), note="op('beat')['vj/kick']"),
        Node("osc_texts", "oscinDAT", 0, -930, {"callbacks": "osc_in", "maxlines": 20},
             {"port": "parent().par.Textsport.eval()"}, note="names, errors, the heartbeat"),
        Node("osc_values", "oscinDAT", 600, -930, {"callbacks": "values_in", "maxlines": 20},
             {"port": "parent().par.Valuesport.eval()"}, note="what others change"),
        Node("values_in", "textDAT", 800, -930, text=_script("values_in"), note="callbacks of osc_values"),
        Node("osc_in", "textDAT", 200, -930, text=_script("osc_in"), note="callbacks of osc_texts"),
        Node("signals", "textDAT", 400, -930, text=_script("signals"), note="for expressions"),
        Node("osc_out", "oscoutDAT", 0, -1060, {},
             {"address": "parent().par.Host.eval()", "port": "parent().par.Oscport.eval()"}, note="to the server"),
        Node("pars_to_osc", "parameterexecuteDAT", 200, -1060,
             {"active": True, "pars": "*", "valuechange": True, "onpulse": True, "custom": True,
              "builtin": False},
             {"op": "parent()"}, text=_script("osc_out"), note="every custom parameter"),
        Node("addresses", "textDAT", 400, -1060, text=addresses, note="which parameter is which address"),
        Node("midi", "midiinmapCHOP", 0, -1190, {"sliders": "s[1-16]", "buttons": "b[1-16]"},
             note="set up in Dialogs > MIDI Device Mapper"),
        Node("midi_to_pars", "chopexecuteDAT", 200, -1190,
             {"active": True, "chop": "midi", "offtoon": True, "valuechange": True},
             text=_script("midi_in")),
        Node("midi_map", "textDAT", 400, -1190, text=MIDI_MAP, note="which slider moves what: change it",
             yours=True),
        Node("watchdog", "executeDAT", 0, -1320, {"active": True, "start": True, "framestart": True},
             text=_script("watchdog")),
    ]  # fmt: skip


def _hud(source: str, x: int, y: int) -> list[Node]:
    """Return the head-up display over ``source`` and the component's output."""
    shown = "parent().par.Hud.eval() or op('signals').module.lost()"
    return [
        Node("hud_text", "textTOP", x, y - 130,
             {"fontsizex": 22, "alignx": "left", "aligny": "top", "bgalpha": 0.0, "fontautosize": "nofit",
              "outputresolution": "custom", "resolutionw": 1280, "resolutionh": 720},
             {"text": "op('signals').module.hud(parent())", "fontalpha": f"1.0 if {shown} else 0.0"}),
        Node("hud", "compositeTOP", x + 200, y, {"operand": "over", "size": "input2", "prefit": "fill"},
             inputs=("hud_text", source)),
        Node("out1", "outTOP", x + 400, y, inputs=("hud",)),
    ]  # fmt: skip


def _compositor(source: str, x: int, y: int) -> list[Node]:
    """Return trail, bloom, flash, second source and grade after ``source``, ending in ``grade``."""
    return [
        Node("punch", "transformTOP", x, y, {"extend": "mirror"},
             {axis: f"1.0 + 0.15 * parent().par.Punch.eval() * {_HIT.format('kick', 0.25)}" for axis in ("sx", "sy")},
             (source,), note="jumps in on the kick"),
        Node("trail_back", "feedbackTOP", x, y - 260, {"top": "trail"}, inputs=("punch",), note="the last trail"),
        Node("trail_move", "transformTOP", x + 200, y - 260, {"extend": "zero"},
             {"sx": "parent().par.Trailscale.eval()", "sy": "parent().par.Trailscale.eval()",
              "rotate": "parent().par.Trailturn.eval()"}, ("trail_back",)),
        Node("trail_level", "levelTOP", x + 400, y - 260, {}, {"brightness1": "parent().par.Trail.eval()"},
             ("trail_move",), note="what stays of it"),
        Node("trail", "compositeTOP", x + 400, y, {"operand": "maximum", "size": "input1"},
             inputs=("punch", "trail_level")),
        Node("bloom_blur", "blurTOP", x + 600, y - 130, {}, {"size": "parent().par.Glowsize.eval()"}, ("trail",)),
        Node("bloom_level", "levelTOP", x + 800, y - 130, {},
             {"brightness1": f"parent().par.Glow.eval() * (0.4 + 0.6 * {_HIT.format('beat/pulse', 0.35)})"},
             ("bloom_blur",)),
        Node("bloom", "compositeTOP", x + 800, y, {"operand": "add", "size": "input1"},
             inputs=("trail", "bloom_level")),
        Node("flash", "levelTOP", x + 1000, y, {},
             {"brightness1": f"1.0 + 2.0 * parent().par.Hit.eval() * {_HIT.format('snare', 0.15)}"}, ("bloom",)),
        Node("in1", "inTOP", x + 1000, y - 260, {"label": "second source"}, note="yours"),
        Node("second", "crossTOP", x + 1200, y, {"size": "input1"}, {"cross": "parent().par.Second.eval()"},
             ("flash", "in1")),
        Node("grade", "levelTOP", x + 1400, y, {},
             {"gamma1": "parent().par.Gamma.eval()", "contrast": "parent().par.Grade.eval()",
              "blacklevel": "parent().par.Lift.eval()"}, ("second",)),
    ]  # fmt: skip


def _starter() -> Patch:
    return Patch(
        "starter",
        "Starter",
        "The picture, the beat and every control: the shortest way from vjserver to your own network.",
        _pages(("Look", HUD)),
        (*receiver(), *_hud("picture", 600, -130)),
    )


def _beat_compositor() -> Patch:
    return Patch(
        "beat_compositor",
        "Beat compositor",
        "The picture with trails, bloom, punches on the kick, flashes on the snare, a second source and a grade.",
        _pages(("Look", BEAT)),
        (*receiver(), *_compositor("picture", 600, -130), *_hud("grade", 2200, -130)),
    )


def _img2img_loop() -> Patch:
    back = (
        Par("Backname", "Send back as", "Str", "touchdesigner", help="the NDI and Spout/Syphon name of what goes back"),
        Par(
            "Input",
            "Input of the server",
            "Str",
            "touchdesigner",
            help="its name in the show file",
            address="/vj/input",
        ),
        Par("Loop", "Feedback", "Float", 0.0, help="0: your source goes to the server; 1: its own picture comes back"),
        *HUD,
    )
    return Patch(
        "img2img_loop",
        "img2img loop",
        "Your network goes to the server as the picture to start from, and comes back redrawn.",
        _pages(("Look", back)),
        (
            *receiver(),
            Node("in1", "inTOP", 600, -390, {"label": "to the server"}, note="what the server shall make anew"),
            Node("loop", "crossTOP", 800, -390, {"size": "input1"}, {"cross": "parent().par.Loop.eval()"},
                 ("in1", "picture")),
            Node("ndi_out", "ndioutTOP", 1000, -390, {"fps": 60, "includealpha": False},
                 {"name": "parent().par.Backname.eval()", "active": f"{_TRANSPORT} != 'spout'"}, ("loop",),
                 note="back to the server, any machine"),
            Node("spout_out", "syphonspoutoutTOP", 1000, -520, {},
                 {"sendername": "parent().par.Backname.eval()", "active": f"{_TRANSPORT} == 'spout'"}, ("loop",),
                 note="back to the server, same GPU"),
            *_hud("picture", 600, -130),
        ),
    )  # fmt: skip


def _two_decks() -> Patch:
    decks = (
        Par("Previewname", "NDI source of the preview", "Str", "vjserver-preview"),
        Par("Previewstream", "Shared-memory stream of the preview", "Str", "preview"),
        Par("Openpreviewndi", "Open the preview by NDI", "Pulse", address="/vj/output/add",
            args=("=preview", "=ndi name=vjserver-preview feed=preview")),
        Par("Openpreviewshm", "Open the preview in shared memory", "Pulse", address="/vj/output/add",
            args=("=preview", "=sharedmem stream=preview feed=preview")),
        Par("Closepreview", "Close the preview", "Pulse", address="/vj/output/remove", args=("=preview",)),
        Par("Monitor", "Look at", "Menu", "program", menu=_menu("program", "preview", "split")),
        *HUD,
    )  # fmt: skip
    monitor = "parent().par.Monitor.menuIndex"
    deck_reader = receiver("deck_", 0, 700, "Previewname")
    watched = tuple(n for n in deck_reader if n.name not in ("deck_spout_in", "deck_shm_in"))
    shorter = tuple(
        Node(n.name, n.kind, n.x, n.y, n.pars, n.exprs | {"index": f"0 if {_TRANSPORT} == 'ndi' else 1"},
             ("deck_ndi_in", "deck_script_in"), n.text, n.note)
        if n.kind == "switchTOP" else n
        for n in watched
    )  # fmt: skip
    return Patch(
        "two_decks",
        "Two decks",
        "Program and preview as two streams: decks A and B of the server, its crossfader, and a split monitor.",
        _pages(("Decks", decks)),
        (
            *receiver(),
            *shorter,
            Node("left", "transformTOP", 600, -390, {"extend": "zero", "sx": 0.5, "sy": 0.5, "tx": -0.25},
                 inputs=("picture",)),
            Node("right", "transformTOP", 600, -520, {"extend": "zero", "sx": 0.5, "sy": 0.5, "tx": 0.25},
                 inputs=("deck_picture",)),
            Node("split", "compositeTOP", 800, -390, {"operand": "add", "size": "input1"}, inputs=("left", "right")),
            Node("monitor", "switchTOP", 1000, -130, {}, {"index": monitor}, ("picture", "deck_picture", "split")),
            *_hud("monitor", 1200, -130),
        ),
    )  # fmt: skip


def _complete(patch: Patch, registry: Registry) -> Patch:
    """Return the patch with what all share, and the knobs of what is to be played."""
    pages = {**patch.pages, "Params": _looks(registry)}
    pages |= _own_pages(registry, {par.name for page in pages.values() for par in page})
    patch = replace(patch, pages=pages)
    return replace(patch, nodes=(*patch.nodes, *_control(dumps(patch.addresses, indent=0))))


def patches(registry: Registry) -> dict[str, Patch]:
    """Return every patch by its name."""
    declared = (_starter(), _beat_compositor(), _img2img_loop(), _two_decks())
    return {patch.name: _complete(patch, registry) for patch in declared}


PATCHES = patches(shipped())
