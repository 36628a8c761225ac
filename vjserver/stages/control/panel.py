"""What the panel and OSCQuery see of control: values, sound and health go out, messages and new thumbnails come in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from vjserver.controls.oscquery import tree
from vjserver.runtime.clock import Clock
from vjserver.runtime.files import data_folder, write_whole
from vjserver.runtime.status import DeliverStatus, plain
from vjserver.show.addresses import CUE_GO, OUTPUTS
from vjserver.show.readout import cue_names, waits
from vjserver.show.registry import Registry
from vjserver.stages.control.control import Control
from vjserver.stages.control.osc_publisher import maker
from vjserver.types.features import BAND_NAMES


class ControlPanel:
    """Control as the panel needs it; ``shipped`` is the folder of the thumbnails that come with our presets."""

    def __init__(self, control: Control, clock: Clock, shipped: Path) -> None:
        self._control, self._clock, self._shipped = control, clock, shipped
        self._mine = data_folder() / "thumbs"
        self._hello: dict[str, Any] = {}
        self._hello_of: object = None
        self.receive, self.settle = control.receive, control.settle
        self.join, self.leave = control.surfaces.join, control.surfaces.leave
        self.read = control.desk.read
        self.tree = tree(control.registry)

    def hello(self) -> dict[str, Any]:
        """Return addresses, presets and cues as JSON values; another object when presets have changed."""
        desk, registry = self._control.desk, self._control.registry
        if desk.bank is not self._hello_of:
            self._hello_of = desk.bank
            self._hello = {
                "addresses": [_entry_row(address, registry) for address in registry.entries if address != CUE_GO],
                "generators": {kind: list(info.uses) for kind, info in registry.infos.items()},
                "outputs": list(OUTPUTS),
                "banks": desk.bank.names,
                "presets": [
                    {"number": i + 1, "slug": slug, "name": preset.name, "bank": desk.bank.banks[i],
                     "description": preset.description, "tags": preset.tags,
                     "thumb": self.thumbnail(i + 1) is not None}
                    for i, (slug, preset) in enumerate(desk.bank.presets)
                ],
                "cues": [{"id": cue.id, "name": cue.name} for cue in desk.cues.cues],
            }  # fmt: skip
        return self._hello

    def overheard(self, since: int) -> tuple[int, list[tuple[int, str, str, tuple[object, ...]]]]:
        """Return how many messages there were, and those of the newest that came after number ``since``."""
        control = self._control
        return control.monitored, [row for row in control.monitor if row[0] > since]

    def notes(self, since: int) -> list[tuple[int, str, str, str]]:
        """Return what was announced after number ``since``."""
        return [row for row in self._control.announcer.notes if row[0] > since]

    def snapshot(self) -> dict[str, Any]:
        """Return what the panel shows besides values: sound, beat and health, as plain JSON values."""
        pipes, desk, now_ns = self._control.pipes, self._control.desk, self._clock.now_ns()
        f, state = pipes.features.get(), desk.state
        told = pipes.told
        ear, generate, deliver = told.ear.fresh(now_ns), told.generate.fresh(now_ns), told.deliver.fresh(now_ns)
        return {
            "t_ms": self.now_ms(),
            "beat": f.grid.count_at(now_ns) if f.grid.running else 0,
            "phase": round(f.grid.beat_phase(now_ns), 3),
            "position": int(f.grid.bar_phase(now_ns) * f.grid.beats_per_bar),
            "beats_per_bar": f.grid.beats_per_bar,
            "bpm": round(f.grid.bpm, 1),
            "confidence": round(f.grid.confidence, 2),
            "level": round(f.value("level", now_ns), 3),
            "silence": f.value("silence", now_ns) > 0.5,
            "drums": [round(f.value(name, now_ns), 2) for name in ("kick", "snare", "hat")],
            "bands": dict(zip(BAND_NAMES, [round(float(b), 3) for b in f.bands], strict=True)),
            "spectrum": [round(float(b), 2) for b in f.spectrum],
            "preset_name": state.preset_name,
            "macro_names": list(state.macro_names),
            "pending": waits(desk, now_ns),
            "cue": cue_names(desk),
            "morph": round(state.glide.share(now_ns), 3) if state.glide is not None else None,
            "take": "plays" if desk.playing else "records" if state.take else "",
            "snapshots": sorted(desk.snapshots),
            "latency_ms": {
                "audio_to_osc": plain(ear.audio_to_osc),
                "audio_to_frame": plain(generate.audio_to_frame),
                "frame_to_output": plain(deliver.frame_to_output),
            },
            "fps": {"generated": generate.fps, "delivered": deliver.new_fps},
            "outputs": outputs_of(deliver),
            "picture": deliver.level,
            "generator": maker(generate),
            "figures": generate.figures,
            "troubles": self._control.faults,
            "speech": self._control.speech.snapshot(told.listen.fresh(now_ns)),
        }

    def now_ms(self) -> float:
        """Return the time by our clock, ms: what a press is stamped with that answers to a snapshot."""
        return self._clock.now_ns() * 1e-6

    # -- thumbnails ----------------------------------------------------------------------------------------

    def thumbnail(self, number: int) -> bytes | None:
        """Return a small JPEG of preset ``number`` (from 1), or None where there is none."""
        presets = self._control.desk.bank.presets
        if not 1 <= number <= len(presets):
            return None
        name = f"{presets[number - 1][0]}.jpg"
        for folder in (self._mine, self._shipped):
            try:
                return (folder / name).read_bytes()
            except OSError:
                continue
        return None

    def shows_the_look(self) -> bool:
        """Tell whether the picture is the preset's own: nothing lies over it, and its generator makes it."""
        desk, now_ns = self._control.desk, self._clock.now_ns()
        state, presets, told = desk.state, desk.bank.presets, self._control.pipes.told
        if state.preset >= len(presets):
            return False
        covered = state.blackout or state.freeze or state.safe or state.fade < 0.95 or state.glide is not None
        kind = presets[state.preset][1].generator
        made_by, level = told.generate.fresh(now_ns).generator, told.deliver.fresh(now_ns).level
        return not covered and level == "live" and made_by.startswith(kind)

    def keep_thumbnail(self, jpeg: bytes) -> None:
        """Keep the picture of the preset that plays, unless it is one of ours."""
        desk = self._control.desk
        if desk.state.preset < len(desk.bank.presets):
            name = f"{desk.bank.presets[desk.state.preset][0]}.jpg"
            if not (self._shipped / name).exists():
                write_whole(self._mine / name, jpeg)
                self._hello_of = None


def _entry_row(address: str, registry: Registry) -> dict[str, Any]:
    """Return an address as the panel knows it; a knob with its key, its heading, and the labels of its choices."""
    entry = registry.entries[address]
    key = registry.key_of(address)
    knob = registry.parameters.get(key)
    arguments: Sequence[dict[str, Any]] = [
        {"type": a.type, "low": a.low, "high": a.high, "unit": a.unit, "optional": a.optional} for a in entry.arguments
    ]
    return {
        "address": address,
        "kind": entry.kind,
        "arguments": arguments,
        "choices": tuple(registry.infos) if address == "/vj/generator" else entry.choices,
        "doc": entry.doc,
        "default": entry.default,
        "knob": key,
        "group": knob.group if knob is not None else "",
        "labels": knob.choices if knob is not None else (),
    }


def outputs_of(deliver: DeliverStatus) -> dict[str, Any]:
    """Return how each output does, as JSON values; a latency that was not measured is empty."""
    return {label: msgspec.to_builtins(row) | {"latency": plain(row.latency)} for label, row in deliver.outputs.items()}
