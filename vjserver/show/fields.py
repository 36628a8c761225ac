"""The stored fields: one row says by which address a value of the state is set, and whether a preset keeps it.

A value that is stored stands here, in ``state.Look`` or ``state.ShowState``, and, where it is saved, in
``preset.Preset``; setting it, reading it, saving it and holding it through a morph follow from the row.
"""

from typing import NamedTuple


class Stored(NamedTuple):
    """A field of the state, ``owner.name`` for one of a group.

    ``saved``: presets hold it under the same name. ``switch``: it stands until the end of a morph.
    """

    name: str
    address: str
    saved: bool = False
    switch: bool = False


STORED = (
    Stored("generator", "/vj/generator", saved=True, switch=True),
    Stored("model", "/vj/model", saved=True, switch=True),
    Stored("input", "/vj/input", saved=True, switch=True),
    Stored("size", "/vj/size", saved=True, switch=True),
    Stored("seed", "/vj/seed", saved=True),
    Stored("negative", "/vj/negative", saved=True),
    Stored("spoken", "/vj/speech/style", saved=True),
    Stored("travel.beats", "/vj/travel/beats", saved=True),
    Stored("travel.seconds", "/vj/travel/seconds", saved=True),
    Stored("travel.ease", "/vj/travel/ease", saved=True),
    Stored("morph.beats", "/vj/morph/beats"),
    Stored("morph.seconds", "/vj/morph/seconds"),
    Stored("morph.ease", "/vj/morph/ease"),
    Stored("quantise", "/vj/quantise"),
    Stored("bank", "/vj/preset/bank"),
    Stored("autopilot.on", "/vj/autopilot"),
    Stored("autopilot.bars", "/vj/autopilot/bars"),
    Stored("lookahead_ms", "/vj/lookahead"),
    Stored("blackout", "/vj/master/blackout"),
    Stored("freeze", "/vj/master/freeze"),
    Stored("fade", "/vj/master/fade"),
    Stored("safe", "/vj/master/safe"),
    Stored("deliver.fps", "/vj/deliver/fps"),
    Stored("deliver.between", "/vj/deliver/between"),
    Stored("deliver.back", "/vj/deliver/back"),
    Stored("sync.midi_clock", "/vj/midi/clock"),
    Stored("sync.midi_from", "/vj/midi/clock/from"),
    Stored("take", "/vj/take/record"),
    Stored("sound.device", "/vj/sound/device"),
    Stored("sound.channels", "/vj/sound/channels"),
    Stored("keep", "/vj/board/keep"),
    Stored("speech.on", "/vj/speech/on"),
    Stored("speech.mode", "/vj/speech/mode"),
    Stored("speech.talk", "/vj/speech/talk"),
    Stored("speech.source", "/vj/speech/source"),
    Stored("speech.policy", "/vj/speech/policy"),
    Stored("speech.language", "/vj/speech/language"),
    Stored("speech.bars", "/vj/speech/bars"),
    Stored("speech.hold_s", "/vj/speech/hold_s"),
    Stored("speech.crowd", "/vj/speech/crowd"),
)
SWITCHES = tuple(row.name for row in STORED if row.switch)
SAVED = tuple(row.name for row in STORED if row.saved)
