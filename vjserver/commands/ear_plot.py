"""A look into the ear: what it heard and why goes in, one tall picture comes out (PNG, SVG, PDF or HTML).

From the top: the waveform with drums, how surely each moment is a beat and a one, the drums' sureties, the bands, the
tempo, and the confidence. A beat that was missed can be seen to have been doubted, or drowned, or drummed elsewhere.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.app.offline import Record
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.events import Beat, Drum, DrumName, Section
from vjserver.types.features import BAND_NAMES, DRUM_NAMES

NS = 1_000_000_000
KINDS = (".png", ".svg", ".pdf", ".html")
_INCHES_A_SECOND, _WIDEST = 0.45, 120.0
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.edgecolor": "#555", "axes.facecolor": "#14141c", "figure.facecolor": "#0c0c12",
    "text.color": "#ddd", "axes.labelcolor": "#ccc", "xtick.color": "#999", "ytick.color": "#999",
}  # fmt: skip
_DRUM_COLOURS: dict[DrumName, str] = {"kick": "#ff5d73", "snare": "#ffd166", "hat": "#4cc9f0"}


def check_plot(path: Path) -> None:
    """Raise ConfigError or VJError where a plot could not be written to ``path``, before anything is heard."""
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"--plot writes {', '.join(KINDS)}: got {path.name!r}")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"--plot: there is no folder {path.resolve().parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise VJError("--plot needs matplotlib; pip install 'vjserver[plot]'") from None


def plot(record: Record, title: str, path: Path) -> None:
    """Draw a record into ``path``."""
    figure = _draw(record, title)
    try:
        if path.suffix.lower() == ".html":
            path.write_text(_page(figure, title), encoding="utf-8")
        else:
            figure.savefig(path, dpi=80)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def _draw(record: Record, title: str) -> Any:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    t = np.array(record.times_s)
    seconds = float(t[-1]) if len(t) else 1.0
    with rc_context(_STYLE):
        figure = Figure(figsize=(float(np.clip(seconds * _INCHES_A_SECOND, 14.0, _WIDEST)), 13.0), layout="constrained")
        rows = figure.subplots(6, 1, sharex=True, height_ratios=(2, 2, 1.6, 2, 1.4, 1.2))
        figure.suptitle(title)
    _draw_wave(rows[0], t, record)
    beat = np.array(record.beat).reshape(-1, 2)
    rows[1].plot(t, beat[:, 0], color="#9ef01a", lw=0.9, label="beat")
    rows[1].plot(t, beat[:, 1], color="#ff5d73", lw=0.9, label="one")
    _mark_beats(rows[1], record)
    drums = np.array(record.drums).reshape(-1, len(DRUM_NAMES))
    for i, name in enumerate(DRUM_NAMES):
        rows[2].plot(t, drums[:, i], color=_DRUM_COLOURS[name], lw=0.8, label=name)
    rows[2].plot(t, record.flux, color="#777", lw=0.5, label="flux")
    bands = np.array(record.bands).reshape(-1, len(BAND_NAMES)).T
    rows[3].imshow(bands, aspect="auto", origin="lower", extent=(0, seconds, -0.5, 5.5), cmap="magma", vmin=0, vmax=1)
    rows[3].set_yticks(range(6), BAND_NAMES)
    tempo = np.array(record.tempo).reshape(-1, 4)
    rows[4].plot(t, tempo[:, 1], ".", color="#666", ms=1.5, label="heard")
    rows[4].plot(t, tempo[:, 0], color="#4cc9f0", lw=1.4, label="clock")
    rows[5].plot(t, tempo[:, 2], color="#9ef01a", lw=1.2, label="confidence")
    rows[5].plot(t, tempo[:, 3], color="#888", lw=0.7, label="trust in what is heard")
    for axis, label in zip(rows, ("sound", "beat", "onsets", "bands", "tempo, bpm", "confidence"), strict=True):
        axis.set_ylabel(label)
        axis.margins(x=0)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper right", fontsize=7, framealpha=0.3, labelcolor="#ddd", facecolor="#000")
    for axis in (rows[1], rows[2], rows[5]):
        axis.set_ylim(0, 1.02)
    rows[-1].set_xlabel("seconds")
    return figure


def _draw_wave(axis: Any, t: Any, record: Record) -> None:
    wave = np.array(record.wave).reshape(-1, 2)
    axis.fill_between(t, wave[:, 0], wave[:, 1], color="#6c63ff", lw=0)
    for place, (name, colour) in enumerate(_DRUM_COLOURS.items()):
        times = [(e.heard_ns - record.start_ns) / NS for e in record.events if isinstance(e, Drum) and e.name == name]
        axis.plot(times, np.full(len(times), 1.05 + 0.14 * place), "|", color=colour, ms=7, label=name)
    for event in record.events:
        if isinstance(event, Section):
            at = (event.t_ns - record.start_ns) / NS
            axis.axvline(at, color="#fff", lw=1, ls=":")
            axis.text(at, -1.0, f" {event.name}", color="#fff", fontsize=8)


def _mark_beats(axis: Any, record: Record) -> None:
    for event in record.events:
        if isinstance(event, Beat):
            one = event.bar_position == 0
            at = (event.t_ns - record.start_ns) / NS
            axis.axvline(at, color="#ff5d73" if one else "#888", lw=1.2 if one else 0.6, alpha=0.8)


def _page(figure: Any, title: str) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    style = "body{margin:0;background:#0c0c12;overflow-x:auto}svg{height:98vh;width:auto}"
    head = f'<!doctype html><meta charset="utf-8"><title>{_escaped(title)}</title><style>{style}</style>'
    return head + svg[svg.index("<svg") :]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
