"""Looks: a state and a preset go in, the state on its way there comes out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vjserver.show.addresses import N_MACROS, N_PROMPTS, PARAM
from vjserver.show.bank import Bank
from vjserver.show.cues import Cue
from vjserver.show.fields import SAVED, SWITCHES
from vjserver.show.preset import DEFAULT_MACROS, Preset
from vjserver.show.registry import Accepted, Registry
from vjserver.show.state import LOOK, Look, MacroRow, MappingRow, Morph, ShowState, Travel
from vjserver.types.events import EarEvent, event_name


def at(state: ShowState, t_ns: int) -> ShowState:
    """Return the state as it is at ``t_ns``: a morph that is on its way is part of it, one that arrived is gone."""
    glide = state.glide
    if glide is None:
        return state
    if glide.over(t_ns):
        return replace(state, glide=None)
    share = glide.share(t_ns)
    params = dict(state.params)
    for name, start in glide.params.items():
        if name in params:
            params[name] = start + (params[name] - start) * share
    params |= glide.held
    held: dict[str, Any] = dict(zip(SWITCHES, glide.switches, strict=True))
    return replace(state, params=params, **held)


def change_look(state: ShowState, t_ns: int, look: Look, lasts_s: float, registry: Registry) -> ShowState:
    """Return ``state`` on its way to ``look``, which it reaches in ``lasts_s``: knobs eased, switches at the end.

    Knobs that the look does not hold stay. Of a generator's own knobs only those are eased of one that plays before
    and after: a leaving one's stand until the end, a coming one's are set. Whole numbers and choices switch at the end.
    """
    now = at(state, t_ns)
    params = registry.bounded({k: v for k, v in state.params.items() if k not in look.params} | dict(look.params))
    new = replace(state, glide=None, **{name: getattr(look, name) for name in LOOK if name != "params"}, params=params)
    if lasts_s <= 0.0:
        return new
    switches = now.generator, now.model, now.input, now.size
    before, after = {now.generator, now.input}, {new.generator, new.input}
    eased: dict[str, float] = {}
    held: dict[str, float] = {}
    for name, value in now.params.items():
        kind = name.split("/")[0] if "/" in name else ""
        if value == params.get(name, value) or (kind and kind not in before):
            continue
        knob = registry.parameters.get(name)
        eases = (not kind or kind in after) and (knob is None or knob.type == "float")
        (eased if eases else held)[name] = value
    return replace(new, glide=Morph(t_ns, lasts_s, state.morph.ease, eased, switches, held))


def look_of_preset(place: int, preset: Preset, registry: Registry) -> Look:
    """Return the look of a preset, which has its ``place`` (from 0) in the bank.

    Its knobs are the common ones, and those of the generators that it plays or names; the others keep theirs.
    """
    texts = [p.text for p in preset.prompts] + [""] * (N_PROMPTS - len(preset.prompts))
    weights = [p.weight for p in preset.prompts] + [0.0] * (N_PROMPTS - len(preset.prompts))
    called = registry.canonical
    rows = tuple(
        MappingRow(m.source, called(m.to), *m.range, m.curve, m.mode, m.attack_s, m.release_s) for m in preset.mappings
    )
    named = preset.settings(registry)
    kinds = {preset.generator, preset.input, *(key.split("/")[0] for key in named if "/" in key)}
    starts = {key: start for key, start in registry.starts.items() if "/" not in key or key.split("/")[0] in kinds}
    params = starts | named
    macros = preset.macros or DEFAULT_MACROS
    macro_rows = tuple(MacroRow(m.number, called(move.to), *move.range, move.curve) for m in macros for move in m.moves)
    names = [""] * N_MACROS
    for macro in macros:
        names[macro.number - 1] = macro.name
    plain: dict[str, Any] = {name: getattr(preset, name) for name in SAVED if "." not in name}
    return Look(
        texts=tuple(texts),
        weights=tuple(weights),
        params=params,
        travel=Travel(**preset.travel.model_dump()),
        preset=place,
        preset_name=preset.name,
        mappings=rows,
        macros=tuple(_standing(n, macro_rows, params) for n in range(1, N_MACROS + 1)),
        macro_rows=macro_rows,
        macro_names=tuple(names),
        **plain,
    )


def _standing(number: int, rows: tuple[MacroRow, ...], params: Mapping[str, float]) -> float:
    """Return where a macro's fader stands when a preset begins: where the first knob it moves stands in its range."""
    for row in rows:
        name = row.to.removeprefix(PARAM)
        if row.number == number and name in params and row.low != row.high and row.curve == "linear":
            return min(1.0, max(0.0, (params[name] - row.low) / (row.high - row.low)))
    return 0.0


def enter(
    state: ShowState, place: int, preset: Preset, registry: Registry, t_ns: int = 0, lasts_s: float = 0.0
) -> ShowState:
    """Return ``state`` with ``preset`` playing, or on its way there. Master and tempo are the performer's and stay."""
    return change_look(state, t_ns, look_of_preset(place, preset, registry), lasts_s, registry)


def enter_cue(state: ShowState, cue: Cue, bank: Bank, registry: Registry, t_ns: int, period_s: float) -> ShowState:
    """Return ``state`` with a cue's preset playing, or on its way there as the cue says. Raises ConfigError."""
    if cue.preset is None:
        return state
    place, preset = bank.find(cue.preset, state.bank)
    own = Travel(cue.morph_beats, cue.morph_seconds, state.morph.ease)
    morph = own if cue.morph_beats or cue.morph_seconds else state.morph
    new = enter(replace(state, morph=morph), place, preset, registry, t_ns, morph.lasts_s(period_s))
    return replace(new, morph=state.morph)


def crossed(look: Look) -> Look:
    """Return ``look`` with the other deck on air: the crossfader at its other end."""
    other = 0.0 if look.params["crossfade"] >= 0.5 else 1.0
    return replace(look, params={**look.params, "crossfade": other})


def rebanked(state: ShowState, before: Bank, bank: Bank, registry: Registry) -> ShowState:
    """Return ``state`` in a new bank: the preset that plays is found again, and played as it is now, if it was edited.

    If it is gone, it plays on, and no preset is said to play.
    """
    place = bank.found_again(state.preset, state.preset_name, before)
    new = replace(state, preset=place, bank=state.bank if state.bank in bank.banks else "")
    if place < len(bank.presets) and bank.presets[place][1] not in [preset for _, preset in before.presets]:
        new = enter(new, place, bank.presets[place][1], registry)
    return new


class Triggers:
    """Counts what is heard and says what a preset wants done: ``on`` an event, ``every`` N of them.

    What leads to a generator that is not here is left out.
    """

    def __init__(self, preset: Preset | None, registry: Registry) -> None:
        rows = preset.triggers if preset else ()
        self._rows = [(row, registry.accept(row.do, row.args)) for row in rows if not registry.absent(row.do)]
        self._counts = [0] * len(self._rows)

    def hear(self, event: EarEvent) -> list[Accepted]:
        """Return the messages that fall due with this event."""
        name = event_name(event)
        names = {name, "beat", "bar"} if name == "downbeat" else {name}
        due = []
        for i, (row, message) in enumerate(self._rows):
            if row.on in names:
                self._counts[i] += 1
                if self._counts[i] % row.every == 0:
                    due.append(message)
        return due
