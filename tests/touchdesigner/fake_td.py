"""A strict stand-in for TouchDesigner's ``td`` module: operators, parameters, connectors, custom pages, callbacks.

It refuses what TouchDesigner would: an unknown operator type, an unknown parameter, a menu value that is not in the
menu, a connector that is not there or of another family, a custom parameter whose name is not a capital and then small
letters and digits. Names and styles of parameters are facts from TouchDesigner's documentation (``td_params.json``, and
below), as are the menus. OSC operators use real sockets.
"""

import json
import socket
import types
from pathlib import Path

import numpy as np
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

FACTS = json.loads((Path(__file__).parent / "td_params.json").read_text(encoding="utf-8"))
FILE_PAGE = {
    "edit": "Pulse", "file": "File", "syncfile": "Toggle", "loadonstart": "Toggle", "loadonstartpulse": "Pulse",
    "write": "Toggle", "writepulse": "Pulse", "language": "Menu", "extension": "Menu", "customext": "Str",
    "wordwrap": "Menu",
}  # fmt: skip
FACTS["textDAT"] = FILE_PAGE  # docs.derivative.ca/Text_DAT

COMPOSITES = [
    "add",
    "atop",
    "average",
    "brightest",
    "burncolor",
    "burnlinear",
    "chromadifference",
    "color",
    "darkercolor",
    "difference",
    "dimmest",
    "divide",
    "dodge",
    "exclude",
    "freeze",
    "glow",
    "hardlight",
    "hardmix",
    "heat",
    "hue",
    "inside",
    "insideluminance",
    "inverse",
    "lightercolor",
    "luminancedifference",
    "maximum",
    "minimum",
    "multiply",
    "negate",
    "outside",
    "outsideluminance",
    "over",
    "overlay",
    "pinlight",
    "reflect",
    "screen",
    "softlight",
    "linearlight",
    "stencilluminance",
    "subtract",
    "subtractive",
    "under",
    "vividlight",
    "xor",
    "yfilm",
    "zfilm",
]
MENUS = {
    "outputresolution": ["useinput", "eighth", "quarter", "half", "2x", "4x", "8x", "fit", "limit", "custom"],
    "outputaspect": ["useinput", "resolution", "custom"],
    "inputfiltertype": ["nearest", "linear", "mipmap"],
    "filtertype": ["nearest", "linear", "mipmap"],
    "language": ["input", "node"],
    ("compositeTOP", "operand"): COMPOSITES,
    ("compositeTOP", "size"): ["input1", "input2"],
    ("compositeTOP", "prefit"): ["fill", "fithorz", "fitvert", "fitbest", "fitoutside", "nativeres"],
    ("compositeTOP", "extend"): ["hold", "zero", "repeat", "mirror"],
    ("crossTOP", "size"): ["input1", "input2"],
    ("transformTOP", "extend"): ["hold", "zero", "repeat", "mirror"],
    ("textTOP", "alignx"): ["left", "center", "right"],
    ("textTOP", "aligny"): ["bottom", "center", "top"],
    ("textTOP", "fontautosize"): ["nofit", "alwaysfit", "fitiffat"],
    ("ndiinTOP", "bandwidth"): ["high", "low"],
    ("ndiinTOP", "inputpixelformat"): ["native", "fixed8"],
    ("sharedmeminTOP", "memtype"): ["local", "global"],
    ("oscinDAT", "protocol"): ["msging", "multicastmsging", "reliablemsging"],
}
INPUTS = {
    "blurTOP": 1, "compositeTOP": 99, "constantTOP": 1, "crossTOP": 2, "feedbackTOP": 1, "inTOP": 1, "levelTOP": 1,
    "ndiinTOP": 0, "ndioutTOP": 1, "nullTOP": 1, "outTOP": 1, "scriptTOP": 3, "sharedmeminTOP": 0, "switchTOP": 99,
    "syphonspoutinTOP": 0, "syphonspoutoutTOP": 1, "textTOP": 1, "transformTOP": 2, "nullCHOP": 1, "oscinCHOP": 0,
    "midiinmapCHOP": 0, "constantCHOP": 1,
}  # fmt: skip
NO_OUTPUT = ("ndioutTOP", "syphonspoutoutTOP", "outTOP")
STYLES = ("Float", "Int", "Toggle", "Str", "Menu", "Pulse", "Momentary")
DEFAULTS = {"Toggle": False, "Float": 0.0, "Int": 0, "XY": 0.0, "RGB": 0.0, "RGBA": 0.0}


class tdError(Exception):
    """What TouchDesigner raises for things that cannot be."""


class Par:
    def __init__(self, owner, name, style, custom=False):
        self.owner, self.name, self.style, self.isCustom = owner, name, style, custom
        self.label, self.help, self.readOnly = name, "", False
        self.default = self._val = DEFAULTS.get(style, "")
        self.min = self.normMin = 0.0
        self.max = self.normMax = 1.0
        self.clampMin = self.clampMax = False
        self._expr = None
        self._names, self._labels = None, None

    @property
    def menuNames(self):
        if self._names is not None:
            return self._names
        return MENUS.get((self.owner.OPType, self.name), MENUS.get(self.name))

    @menuNames.setter
    def menuNames(self, names):
        assert self.isCustom, "only custom menus can be changed"
        assert all(isinstance(n, str) for n in names)
        self._names = list(names)

    @property
    def menuLabels(self):
        return self._labels

    @menuLabels.setter
    def menuLabels(self, labels):
        assert len(labels) == len(self._names)
        self._labels = list(labels)

    @property
    def menuIndex(self):
        return self.menuNames.index(self.eval())

    @property
    def expr(self):
        return self._expr

    @expr.setter
    def expr(self, text):
        compile(text, self.name, "eval")
        self._expr = text

    @property
    def val(self):
        return self._val

    @val.setter
    def val(self, value):
        self.set(value)

    def set(self, value):
        """Take a constant; it ends an expression."""
        style = self.style.lower()
        if style in ("pulse", "momentary"):
            raise tdError(f"{self}: a pulse has no value")
        if style == "menu":
            known = self.menuNames
            assert known is not None, f"{self}: this menu is not in the facts; look it up first"
            if value not in known:
                raise tdError(f"{self}: {value!r} is not in the menu {known}")
        elif style == "toggle":
            assert value in (0, 1, True, False), f"{self}: a toggle is on or off: got {value!r}"
            value = bool(value)
        elif style in ("float", "xy", "rgb", "rgba"):
            value = float(value)
        elif style == "int":
            assert float(value) == int(value), f"{self} is whole: got {value!r}"
            value = int(value)
        else:
            value = str(value)
        if style in ("float", "int") and self.isCustom and self.clampMin:
            value = min(self.max, max(self.min, value))
        before, self._val, self._expr = self._val, value, None
        if before != value:
            self.owner.root.par_changed(self, before)

    def eval(self):
        if self._expr is None:
            return self._val
        value = eval(self._expr, self.owner.names())
        style = self.style.lower()
        if style in ("float", "xy", "int"):
            return float(value) if style != "int" else int(value)
        return bool(value) if style == "toggle" else value

    def pulse(self):
        if self.style.lower() not in ("pulse", "momentary"):
            raise tdError(f"{self} is no button")
        self.owner.root.par_pulsed(self)

    def destroy(self):
        assert self.isCustom
        del self.owner.par._pars[self.name]

    def __str__(self):
        return f"{self.owner.path}.par.{self.name}"


class Pars:
    def __init__(self, owner):
        object.__setattr__(self, "_owner", owner)
        object.__setattr__(self, "_pars", {n: Par(owner, n, s) for n, s in FACTS[owner.OPType].items()})

    def __getattr__(self, name):
        try:
            return self._pars[name]
        except KeyError:
            raise AttributeError(f"{self._owner.OPType} {self._owner.path} has no parameter {name!r}") from None

    def __setattr__(self, name, value):
        par = getattr(self, name)
        if isinstance(value, Par):
            value = value.eval()
        par.set(value)


class ParGroup(list):
    """What ``append...`` returns."""


class Page:
    def __init__(self, comp, name):
        self.comp, self.name, self.pars = comp, name, []

    def __getattr__(self, method):
        style = method.removeprefix("append")
        if not method.startswith("append") or style not in STYLES:
            raise AttributeError(f"a custom page has no {method!r}")

        def append(name, *, label=None, order=None, replace=True):
            if not (name[:1].isupper() and name[1:].isalnum() and name[1:] == name[1:].lower()):
                raise tdError(f"a custom parameter is a capital, then small letters and digits: got {name!r}")
            if name in self.comp.par._pars:
                raise tdError(f"{self.comp.path} has a parameter {name!r} already")
            par = Par(self.comp, name, style, custom=True)
            par.label = label or name
            if style == "Menu":
                par._names, par._labels = [], []
            self.comp.par._pars[name] = par
            self.pars.append(par)
            return ParGroup([par])

        return append


class Connector:
    def __init__(self, owner, index, incoming):
        self.owner, self.index, self.incoming = owner, index, incoming
        self.connections = []

    def connect(self, other):
        assert isinstance(other, Connector), f"a connector connects to a connector: got {other!r}"
        if self.incoming == other.incoming:
            raise tdError("an output goes to an input")
        source, target = (other, self) if self.incoming else (self, other)
        if source.owner.family != target.owner.family:
            raise tdError(f"{source.owner.OPType} does not go into {target.owner.OPType}")
        if source.owner.parent() is not target.owner.parent():
            raise tdError("wires stay inside one component")
        target.disconnect()
        target.connections = [source]
        source.connections.append(target)

    def disconnect(self):
        for other in self.connections:
            other.connections = [c for c in other.connections if c is not self]
        self.connections = []


class Channel:
    def __init__(self, owner, name):
        self.owner, self.name, self._value = owner, name, 0.0

    def eval(self):
        return self._value


class OP:
    OPType = ""

    def __init__(self, parent, name):
        self._parent, self.name = parent, name
        self.tags, self.children, self.comment = set(), [], ""
        self.nodeX = self.nodeY = 0
        self.color = (0.55, 0.55, 0.55)
        self.customPages, self._storage, self._text, self._module = [], {}, "", None
        self.root = parent.root if parent is not None else self
        self.par = Pars(self)
        count = INPUTS.get(self.OPType, 0)
        self.inputConnectors = [Connector(self, i, True) for i in range(count)]
        self.outputConnectors = [] if self.OPType in NO_OUTPUT else [Connector(self, 0, False)]
        self.allowCooking = True
        self.cooks, self.pixels = 0, None
        self._channels = {}

    @property
    def family(self):
        return next(f for f in ("TOP", "CHOP", "DAT", "COMP") if self.OPType.endswith(f))

    @property
    def path(self):
        return "/" if self._parent is None else f"{self._parent.path.rstrip('/')}/{self.name}"

    def parent(self, up=1):
        return self._parent if up == 1 else self._parent.parent(up - 1)

    def op(self, path):
        if path.startswith("/"):
            return self.root.op(path[1:]) if path != "/" else self.root
        if path == "..":
            return self._parent
        name, _, rest = path.partition("/")
        found = next((c for c in self.children if c.name == name), None)
        return found.op(rest) if found is not None and rest else found

    def create(self, kind, name):
        assert self.family == "COMP", "only components hold operators"
        assert isinstance(kind, type), f"create takes an operator type: got {kind!r}"
        assert issubclass(kind, OP)
        if self.op(name) is not None:
            raise tdError(f"there is a {self.path}/{name}")
        made = kind(self, name)
        self.children.append(made)
        return made

    def destroy(self):
        for connector in (*self.inputConnectors, *self.outputConnectors):
            connector.disconnect()
        self._parent.children.remove(self)

    def appendCustomPage(self, name):
        assert self.family == "COMP"
        self.customPages.append(Page(self, name))
        return self.customPages[-1]

    def store(self, key, value):
        self._storage[key] = value

    def fetch(self, key, default=None):
        return self._storage.get(key, default)

    def names(self):
        """Return what an expression or script of this operator can see."""
        return {**self.root.td.__dict__, "op": self._parent.op, "parent": self.parent, "me": self}

    # -- DATs -------------------------------------------------------------------------------------------------

    @property
    def text(self):
        assert self.family == "DAT"
        return self._text

    @text.setter
    def text(self, text):
        assert self.family == "DAT", f"{self.OPType} holds no text"
        if text != self._text:
            self._text, self._module = text, None

    @property
    def module(self):
        """The text as a Python module, made when it is first asked for."""
        if self._module is None:
            module = types.ModuleType(self.name)
            module.__dict__.update(self.names())
            exec(compile(self._text, self.path, "exec"), module.__dict__)
            self._module = module
        return self._module

    # -- CHOPs ------------------------------------------------------------------------------------------------

    def __getitem__(self, name):
        assert self.family == "CHOP"
        source = self
        while source.inputConnectors and source.inputConnectors[0].connections:
            source = source.inputConnectors[0].connections[0].owner
        return source._channels.get(name)

    def set_channel(self, name, value):
        """Let a channel have a value, and tell the CHOP Execute DATs that watch it."""
        channel = self._channels.setdefault(name, Channel(self, name))
        before, channel._value = channel._value, value
        for dat in self._parent.children:
            if dat.OPType == "chopexecuteDAT" and dat.par.chop.eval() == self.name:
                if dat.par.offtoon.eval() and before <= 0 < value:
                    dat.module.onOffToOn(channel, 0, value, before)
                if dat.par.valuechange.eval() and before != value:
                    dat.module.onValueChange(channel, 0, value, before)

    # -- TOPs -------------------------------------------------------------------------------------------------

    def cook(self, force=False):
        self.cooks += 1
        if self.OPType == "scriptTOP":
            callbacks = self._parent.op(self.par.callbacks.eval())
            assert callbacks is not None, "a Script TOP without its callbacks"
            callbacks.module.onCook(self)

    def copyNumpyArray(self, array):
        assert self.OPType == "scriptTOP"
        assert isinstance(array, np.ndarray)
        assert array.dtype in (np.uint8, np.uint16, np.float32)
        assert array.ndim == 3
        assert array.shape[2] in (3, 4)
        assert array.flags.c_contiguous
        self.pixels = array.copy()


class OscOut(OP):
    OPType = "oscoutDAT"

    def sendOSC(self, address, args, asBundle=False, useNonStandardTypes=False, use64BitPrecision=False):
        assert isinstance(args, list)
        assert address.startswith("/")
        builder = OscMessageBuilder(address)
        for arg in args:
            assert isinstance(arg, (int, float, str)), f"OSC takes numbers and texts: got {arg!r}"
            builder.add_arg(arg)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(builder.build().dgram, (self.par.address.eval(), self.par.port.eval()))
        self.root.sent.append((address, args))


def _type(name):
    base = OscOut if name == "oscoutDAT" else OP
    return type(name, (base,), {"OPType": name})


class Project(OP):
    """The root: it knows the modules, dispatches callbacks, receives OSC and plays frames."""

    OPType = "baseCOMP"

    def __init__(self, td):
        self.td = td
        super().__init__(None, "")
        self.sent, self.sockets, self.frame = [], {}, 0

    def all(self):
        todo = [self]
        while todo:
            one = todo.pop()
            yield one
            todo += one.children

    def watchers(self, par):
        for dat in par.owner.children:
            if dat.OPType == "parameterexecuteDAT" and dat.par.op.eval() is par.owner:
                pars = dat.par.pars.eval().split()
                if dat.par.custom.eval() and par.isCustom and ("*" in pars or par.name in pars):
                    yield dat

    def par_changed(self, par, before):
        if par.isCustom:
            for dat in self.watchers(par):
                if dat.par.valuechange.eval():
                    dat.module.onValueChange(par, before)

    def par_pulsed(self, par):
        for dat in self.watchers(par):
            if dat.par.onpulse.eval():
                dat.module.onPulse(par)

    def start(self):
        """The project is opened."""
        for dat in [d for d in self.all() if d.OPType == "executeDAT"]:
            if dat.par.start.eval():
                dat.module.onStart()

    def play(self, frames=1):
        """Let frames go by: OSC comes in, frame callbacks run."""
        for _ in range(frames):
            self.frame += 1
            for one in list(self.all()):
                if one.OPType in ("oscinCHOP", "oscinDAT"):
                    self.receive(one)
                elif one.OPType == "executeDAT" and one.par.framestart.eval():
                    one.module.onFrameStart(self.frame)

    def receive(self, one):
        port = one.par.port.eval()
        if one not in self.sockets or self.sockets[one].getsockname()[1] != port:
            self.sockets[one] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[one].bind(("127.0.0.1", port))
            self.sockets[one].setblocking(False)
        while True:
            try:
                packet, peer = self.sockets[one].recvfrom(65536)
            except BlockingIOError:
                return
            for message in _messages(packet):
                if one.OPType == "oscinCHOP":
                    self.to_channels(one, message)
                else:
                    callbacks = one.parent().op(one.par.callbacks.eval())
                    callbacks.module.onReceiveOSC(one, 1, "", packet, 0.0, message.address, message.params, peer)

    @staticmethod
    def to_channels(chop, message):
        """Numbers only; several arguments become ``_1.._N`` channels (OSC In CHOP)."""
        name, values = message.address.lstrip("/"), [p for p in message.params if isinstance(p, (int, float))]
        for i, value in enumerate(values, start=1):
            chop.set_channel(name if len(values) == 1 else f"{name}_{i}", float(value))

    def close(self):
        for one in self.sockets.values():
            one.close()


def _messages(packet):
    if not packet.startswith(b"#bundle"):
        return [OscMessage(packet)]
    found, at = [], 16
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4], "big")
        found += _messages(packet[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def make():
    """Return a fresh ``td`` module with an empty ``/project1``."""
    td = types.ModuleType("td")
    for name in FACTS:
        setattr(td, name, _type(name))
    td.tdError = tdError
    td.root = Project(td)
    td.project1 = td.root.create(td.baseCOMP, "project1")
    td.op = td.root.op
    return td
