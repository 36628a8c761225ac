"""What a generator tells of itself before anybody imports it: its kind, its own knobs, and the common ones it heeds.

Plain data. A plug-in declares one :class:`GeneratorInfo` under the entry point ``vjserver.generator_info``; importing
it must cost nothing, since every process of the server has it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from vjserver.types.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_KNOBS = 64
TAKEN = frozenset({"raw", "inc", "reset"})
"""What stands behind a knob's address, and so can be no knob of a generator's own."""

KnobType = Literal["float", "int", "choice"]
Curve = Literal["linear", "square", "log"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A knob of the picture. Controllers and presets say 0..1; generators get ``low``..``high`` in ``unit``.

    ``type`` ``int`` gives whole numbers, ``choice`` the place of a label in ``choices`` (its range follows from them).
    ``curve`` says how 0..1 is spread over the range: ``square`` gives the low end more room, ``log`` equal ratios.
    ``group`` is the heading under which a panel shows it. Raises ConfigError for what makes no sense.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    default: float = 0.0
    unit: str = ""
    doc: str = ""
    type: KnobType = "float"
    choices: tuple[str, ...] = ()
    curve: Curve = "linear"
    group: str = ""

    def __post_init__(self) -> None:
        where = f"knob {str(self.name)[:40]!r}"
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ConfigError(f"{where}: a name is a-z, 0-9 and _, begins with a letter, and has at most 40 signs")
        if self.type not in ("float", "int", "choice"):
            raise ConfigError(f"{where}: type is float, int or choice: got {self.type!r}")
        if self.curve not in ("linear", "square", "log"):
            raise ConfigError(f"{where}: curve is linear, square or log: got {self.curve!r}")
        if self.type == "choice":
            if len(self.choices) < 2 or not all(isinstance(label, str) and label for label in self.choices):
                raise ConfigError(f"{where}: a choice has two labels or more: got {self.choices!r}")
            object.__setattr__(self, "low", 0.0)
            object.__setattr__(self, "high", float(len(self.choices) - 1))
        elif self.choices:
            raise ConfigError(f"{where}: only a knob of type choice has choices")
        if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in (self.low, self.high, self.default)):
            raise ConfigError(f"{where}: low, high and default are finite numbers")
        if not self.low < self.high or not self.low <= self.default <= self.high:
            raise ConfigError(f"{where}: low < high, and default within: got {self.low}, {self.high}, {self.default}")
        if not math.isfinite(self.high - self.low) or abs(self.high) > 1e30 or abs(self.low) > 1e30:
            raise ConfigError(f"{where}: low and high are within 1e30: got {self.low}, {self.high}")
        if not all(isinstance(text, str) for text in (self.unit, self.doc, self.group)):
            raise ConfigError(f"{where}: unit, doc and group are texts")
        if self.curve == "log" and self.low <= 0.0:
            raise ConfigError(f"{where}: a log curve begins above 0: got {self.low}")

    def raw(self, value: float) -> float:
        """Return the value in the knob's own unit for 0..1."""
        if self.curve == "square":
            value = value * value
        if self.curve == "log":
            raw = self.low * (self.high / self.low) ** value
        else:
            raw = self.low + (self.high - self.low) * value
        return raw if self.type == "float" else float(round(raw))

    def norm(self, raw: float) -> float:
        """Return 0..1 for a value in the knob's own unit, clamped."""
        raw = min(self.high, max(self.low, raw))
        if self.curve == "log":
            return math.log(raw / self.low) / math.log(self.high / self.low)
        share = (raw - self.low) / (self.high - self.low)
        return math.sqrt(share) if self.curve == "square" else share

    @property
    def start(self) -> float:
        """Where it stands in a preset that does not name it, 0..1."""
        return self.norm(self.default)


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """A generator, told before it is imported.

    ``uses`` names the common knobs that it heeds (a panel dims the others). ``accepts_image``: it starts from a picture
    where the show has one. ``takes_model``: ``/vj/model`` reaches its options as ``model``. ``aliases`` are knobs of
    its own that also have an address of their own, ``/vj/param/ALIAS``, from before. ``lead_in_s``: so many seconds
    have to be drawn before a picture in the middle of a film is what it would be. ``source`` is who brought it.
    """

    kind: str
    parameters: tuple[Parameter, ...] = ()
    uses: tuple[str, ...] = ()
    accepts_image: bool = False
    takes_model: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    lead_in_s: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        rows = (
            ("kind", isinstance(self.kind, str)),
            ("parameters", _are(self.parameters, Parameter)),
            ("uses", _are(self.uses, str)),
            ("aliases", isinstance(self.aliases, Mapping) and _are(tuple(chain(*self.aliases.items())), str)),
            ("lead_in_s", isinstance(self.lead_in_s, (int, float)) and 0.0 <= self.lead_in_s < math.inf),
        )
        for name, is_sound in rows:
            if not is_sound:
                raise ConfigError(
                    f"info of {str(self.kind)[:40]!r}: {name} makes no sense: got {getattr(self, name)!r}"[:300]
                )
        for name, kind in (("parameters", tuple), ("uses", tuple), ("aliases", dict)):
            object.__setattr__(self, name, kind(getattr(self, name)))


def _are(rows: object, kind: type) -> bool:
    return isinstance(rows, (tuple, list)) and all(isinstance(row, kind) for row in rows)
