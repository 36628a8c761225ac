"""Fonts of documents: texts in any script go in, the fonts that can write them come out, and what none of them can."""

import importlib.util
import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vjserver.runtime.files import data_folder, write_whole
from vjserver.types.errors import ConfigError

FONTS = "pip install 'vjserver[documents]'"
_NOTO = "NotoSans[wdth,wght].ttf"
# Who is asked for signs that Noto Sans has not, in this order: what Linux, macOS and Windows have.
_MORE = (
    "NotoSansArabic-Regular.ttf", "NotoNaskhArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf",
    "NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf", "NotoSansSymbols2-Regular.ttf", "DejaVuSans.ttf", "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc", "GeezaPro.ttc", "Arial Unicode.ttf", "msyh.ttc", "msgothic.ttc", "malgun.ttf",
    "segoeui.ttf",
)  # fmt: skip
_CJK = "Chinese, Japanese or Korean"
_SCRIPTS = (
    ("Arabic", 0x0600, 0x06FF), ("Hebrew", 0x0590, 0x05FF), (_CJK, 0x2E80, 0x9FFF), (_CJK, 0xAC00, 0xD7AF),
    (_CJK, 0xF900, 0xFFEF), (_CJK, 0x20000, 0x3FFFF), ("Devanagari", 0x0900, 0x097F), ("Thai", 0x0E00, 0x0E7F),
    ("emoji", 0x1F000, 0x1FAFF),
)  # fmt: skip
_REMEDY = {_CJK: "fonts-noto-cjk", **dict.fromkeys(("Arabic", "Hebrew", "Devanagari", "Thai"), "fonts-noto-core")}


@dataclass(frozen=True, slots=True)
class Font:
    """A font file, and which of its collection."""

    path: Path
    number: int = 0

    @property
    def name(self) -> str:
        """A name of its own among a document's fonts."""
        return f"f{abs(hash((self.path.name, self.number))) % 10**9}"


def folders() -> list[Path]:
    """Return where fonts are looked for: the user's own (DATA/fonts), matplotlib's, the system's."""
    found = importlib.util.find_spec("matplotlib")
    places = (found.submodule_search_locations or []) if found is not None else []
    brought = [Path(place) / "mpl-data/fonts/ttf" for place in places]
    if sys.platform == "win32":
        system = [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    elif sys.platform == "darwin":
        system = [Path("/System/Library/Fonts"), Path("/System/Library/Fonts/Supplemental"), Path("/Library/Fonts")]
    else:
        homes = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
        system = [place for home in homes for place in (home, *sorted(p for p in home.glob("**/") if p != home))]
    return [data_folder() / "fonts", *brought, *system]


def base_font() -> Path:
    """Return Noto Sans (Latin, Greek, Cyrillic). Raises ConfigError where it is not installed."""
    found = importlib.util.find_spec("fontpkg_noto_sans")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"documents need fonts: {FONTS}")
    return Path(found.submodule_search_locations[0]) / "files" / _NOTO


def weight_of(base: Path, weight: int) -> Path:
    """Return Noto Sans in one weight, which is made of the variable font once, in seconds; that one where it cannot."""
    made = data_folder() / "cache" / f"{base.stem.partition('[')[0]}-{weight}-{base.stat().st_size}.ttf"
    if not made.exists():
        from fontTools.ttLib import TTFont
        from fontTools.varLib import instancer

        with TTFont(base) as font:
            data = io.BytesIO()
            instancer.instantiateVariableFont(font, {"wght": weight, "wdth": 100}).save(data)
        try:
            write_whole(made, data.getvalue())
        except OSError:
            return base
    return made


@cache
def signs_of(font: Font) -> frozenset[int]:
    """Return what a font can write, as code points; nothing for a file that is none."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(font.path, fontNumber=font.number, lazy=True) as opened:
            if not any(table in opened for table in ("glyf", "CFF ", "CFF2")):  # pictures instead of outlines
                return frozenset()
            return frozenset(opened.getBestCmap() or ())
    except (TTLibError, OSError, ValueError, KeyError, AssertionError):
        return frozenset()


def choose(texts: Iterable[str], places: Sequence[Path] | None = None) -> tuple[list[Font], list[str]]:
    """Return the fonts that texts need besides Noto Sans, and a warning for each script that nobody here can write."""
    needed = {ord(sign) for text in texts for sign in text if not sign.isspace() and sign.isprintable()}
    needed -= signs_of(Font(base_font())) | _JOINS
    chosen: list[Font] = []
    own = data_folder() / "fonts"
    places = folders() if places is None else places
    mine = sorted(own.glob("*")) if own in places else []
    files = [path for path in mine if path.suffix.lower() in (".ttf", ".otf", ".ttc")]
    files += [place / name for name in _MORE for place in places]
    for path in files:
        if not needed:
            break
        font = Font(path)
        if path.is_file() and needed & signs_of(font):
            chosen.append(font)
            needed -= signs_of(font)
    return chosen, [_missing(script, signs) for script, signs in _by_script(needed).items()]


_JOINS = frozenset((0x200C, 0x200D, 0xFE0E, 0xFE0F, 0x200E, 0x200F))


def script_of(sign: int) -> str:
    """Return the script of a sign, as a warning names it."""
    return next((name for name, low, high in _SCRIPTS if low <= sign <= high), "other signs")


def _by_script(signs: Iterable[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for sign in sorted(signs):
        found.setdefault(script_of(sign), []).append(sign)
    return found


def _missing(script: str, signs: Sequence[int]) -> str:
    shown = "".join(map(chr, signs[:8]))
    remedy = _REMEDY.get(script, "")
    hint = f"; on Debian and Ubuntu: apt install {remedy}" if remedy else ""
    return (
        f"no font here can write {script} ({shown}): {len(signs)} signs are left out{hint}; or put a font into "
        f"{data_folder() / 'fonts'}"
    )
