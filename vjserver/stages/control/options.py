"""What a show says to control."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vjserver.outputs.osc import OscTargetOptions
from vjserver.show.bank import Bank
from vjserver.show.cues import CueList
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState
from vjserver.stages.control.osc_publisher import LOOPBACK
from vjserver.stages.control.speaking import SpeechRules
from vjserver.stages.control.user_library import UserLibrary


@dataclass(frozen=True, slots=True)
class OscLimits:
    """Whom OSC is taken from, and how much of it a second from each."""

    allow: tuple[str, ...] = ()
    most_per_s: int = 50_000
    trusted: tuple[str, ...] = LOOPBACK
    """Whose sender addresses are believed, so that they may be sent more than they sent."""


@dataclass(frozen=True)
class ControlOptions:
    """What a show says to control. ``first`` is the state in which it begins."""

    registry: Registry
    bank: Bank
    first: ShowState
    library: UserLibrary
    cues: CueList = field(default_factory=CueList)
    targets: Sequence[OscTargetOptions] = ()
    limits: OscLimits = field(default_factory=OscLimits)
    speech: SpeechRules = field(default_factory=SpeechRules)
    subtitles: bool = True
