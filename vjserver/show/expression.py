"""Expressions: ``1 + 0.2 * sin(pi * beat)`` goes in as text, a function of the moment comes out.

Not Python: numbers, the names below, arithmetic, comparisons and ``a if b else c``. What is read is bounded, so that it
ends; what makes no number (a division by zero, a root of -1) raises ConfigError when it is asked for.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from keyword import iskeyword

from vjserver.easing.ease import EASES
from vjserver.types.errors import ConfigError, nearest
from vjserver.types.features import READERS, Features

LONGEST, DEEPEST = 2000, 40
MARK = "="
"""A mapping whose source begins with this sign is moved by an expression."""
Now = Mapping[str, float]
Value = Callable[[Now], float]

TIMES = {
    "t": "seconds since the look or the scene began",
    "beat": "beats since the look or the scene began, with their fraction",
    "bar": "the same in bars",
}
CONSTANTS = {"pi": math.pi, "tau": math.tau, "e": math.e}
FEATURES = {name.replace("/", "_").replace("#", "s") + "_" * iskeyword(name): name for name in READERS}
"""What is heard, as an expression calls it: ``bass``, ``spectrum_3``, ``chroma_fs``."""


def _ramp(x: float, *points: float, ease: str = "linear") -> float:
    """Return y at ``x`` on the way through points x0, y0, x1, y1 ..., which stand in order."""
    if len(points) < 2 or len(points) % 2:
        raise ConfigError("ramp and glide take x, then points: x0, y0, x1, y1 ...")
    xs, ys = points[::2], points[1::2]
    if x <= xs[0]:
        return ys[0]
    for i in range(1, len(xs)):
        if x < xs[i]:
            share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
            return ys[i - 1] + (ys[i] - ys[i - 1]) * EASES[ease](share)
    return ys[-1]


def _noise(x: float) -> float:
    """Return smooth noise, -1..1, that is the same for the same ``x``."""
    low = math.floor(x)
    share = EASES["smooth"](x - low)
    a, b = (_lattice(low + i) for i in (0, 1))
    return a + (b - a) * share


def _lattice(n: int) -> float:
    mixed = (n * 0x9E3779B1 ^ 0x5BD1E995) & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 15)) * 0x85EBCA6B & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 13)) & 0xFFFFFF) / 0x7FFFFF - 1.0


def _power(a: float, b: float) -> float:
    return math.pow(a, b)


FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    **{name: (getattr(math, name), 1, 1) for name in ("sin", "cos", "tan", "sqrt", "exp", "floor", "ceil")},
    "log": (math.log, 1, 2),
    "abs": (abs, 1, 1),
    "round": (lambda x: float(round(x)), 1, 1),
    "min": (min, 2, 32),
    "max": (max, 2, 32),
    "clamp": (lambda x, low=0.0, high=1.0: min(high, max(low, x)), 1, 3),
    "lerp": (lambda a, b, x: a + (b - a) * x, 3, 3),
    "smooth": (lambda x: EASES["smooth"](min(1.0, max(0.0, x))), 1, 1),
    "saw": (lambda x: x - math.floor(x), 1, 1),
    "tri": (lambda x: 1.0 - abs(2.0 * (x - math.floor(x)) - 1.0), 1, 1),
    "pulse": (lambda x: (1.0 - (x - math.floor(x))) ** 2, 1, 1),
    "noise": (_noise, 1, 1),
    "ramp": (_ramp, 3, 256),
    "glide": (lambda x, *points: _ramp(x, *points, ease="smooth"), 3, 256),
}
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.FloorDiv: operator.floordiv,
}
_COMPARED: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


class Expression:
    """An expression that was read: call it with the names of a moment. Raises ConfigError where that is no number."""

    def __init__(self, text: str, value: Value, names: frozenset[str]) -> None:
        self.text, self.names, self._value = text, names, value

    def __call__(self, now: Now) -> float:
        """Return its value, a finite number."""
        try:
            result = float(self._value(now))
        except ZeroDivisionError:
            raise ConfigError(f"{self.text!r} divides by zero{_when(now)}") from None
        except (ValueError, OverflowError, TypeError):
            raise ConfigError(f"{self.text!r} is no number{_when(now)}") from None
        if not math.isfinite(result):
            raise ConfigError(f"{self.text!r} is beyond all numbers{_when(now)}")
        return result


def _when(now: Now) -> str:
    return f" at t = {now['t']:.3f}" if "t" in now else ""


def names_of(features: Features, t_ns: int, since_ns: int, since_beat: float) -> Now:
    """Return the names of a moment: times since the look began, and what is heard."""
    grid = features.grid
    beat = grid.count + grid.beats_since(t_ns) - since_beat if grid.running else 0.0
    return _Names(features, t_ns, {"t": (t_ns - since_ns) * 1e-9, "beat": beat, "bar": beat / grid.beats_per_bar})


class _Names(dict[str, float]):
    """The names of a moment; what is heard is looked up only where it is asked for."""

    def __init__(self, features: Features, t_ns: int, times: dict[str, float]) -> None:
        super().__init__(times)
        self._features, self._t_ns = features, t_ns

    def __missing__(self, name: str) -> float:
        return self._features.value(FEATURES[name], self._t_ns)


@lru_cache(4096)
def parse(text: str) -> Expression:
    """Read an expression. Raises ConfigError with the column, and what is allowed."""
    if len(text) > LONGEST:
        raise ConfigError(f"an expression has at most {LONGEST} signs: got {len(text)}")
    body = text.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `1if t else 2`
            tree = ast.parse(body, mode="eval")
    except SyntaxError as error:
        raise ConfigError(f"{body[:80]!r}: column {error.offset or len(body) + 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{body[:80]!r} cannot be read") from None
    names: set[str] = set()
    return Expression(body, _read(tree.body, body, names, 0), frozenset(names))


def _read(node: ast.expr, text: str, names: set[str], depth: int) -> Value:
    if depth > DEEPEST:
        raise ConfigError(f"{text[:80]!r}: an expression is nested at most {DEEPEST} deep")

    def inner(child: ast.expr) -> Value:
        return _read(child, text, names, depth + 1)

    match node:
        case ast.Constant(value=bool() | int() | float() as number) if abs(number) < 1e15:
            constant = float(number)
            return lambda _now: constant
        case ast.Name(id=name):
            return _named(name, node, text, names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = inner(operand)
            return lambda now: -value(now)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            a, b, do = inner(left), inner(right), _BINARY[type(sign)]
            return lambda now: do(a(now), b(now))
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _COMPARED:
            a, b, holds = inner(left), inner(right), _COMPARED[type(sign)]
            return lambda now: float(holds(a(now), b(now)))
        case ast.IfExp(test=test, body=then, orelse=other):
            asked, yes, no = inner(test), inner(then), inner(other)
            return lambda now: yes(now) if asked(now) else no(now)
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in FUNCTIONS:
            function, least, most = FUNCTIONS[name]
            if not least <= len(given) <= most:
                wanted = f"{least}" if least == most else f"{least} to {most}"
                raise ConfigError(f"{text[:80]!r}: {name} takes {wanted} numbers: got {len(given)}")
            values = [inner(one) for one in given]
            return lambda now: function(*(value(now) for value in values))
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            raise ConfigError(
                f"{text[:80]!r}: no function {name!r}{nearest(name, FUNCTIONS)}; there are: {', '.join(FUNCTIONS)}"
            )
    hint = "; a power is t ** 2" if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor) else ""
    raise ConfigError(
        f"{text[:80]!r}: column {node.col_offset + 1}: only numbers, names, arithmetic and functions{hint}"
    )


def _named(name: str, node: ast.expr, text: str, names: set[str]) -> Value:
    if name in CONSTANTS:
        constant = CONSTANTS[name]
        return lambda _now: constant
    if name in TIMES or name in FEATURES:
        names.add(name)
        return lambda now: now[name]
    known = [*TIMES, *CONSTANTS, *FEATURES]
    raise ConfigError(f"{text[:80]!r}: column {node.col_offset + 1}: no name {name!r}{nearest(name, known)}")
