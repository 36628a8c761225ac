"""The ends that control holds of the pipes between processes, and what it leaves there for a successor."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.status import StatusWriter
from vjserver.runtime.store import Channels, FeaturesReader, MemoryWriter, StateWriter, Statuses
from vjserver.show.desk import DeskMemory
from vjserver.stages.control.osc_publisher import Subscriber
from vjserver.stages.control.speaking import SpeakingMemory
from vjserver.stages.control.takes import TakeMemory
from vjserver.types.features import silent_features


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends of the pipes: ``events`` is written; ``others`` are the queues of the other processes,
    ``told`` is what all of them tell of themselves."""

    state: StateWriter
    features: FeaturesReader
    events: QueueWriter
    others: Sequence[QueueReader]
    status: StatusWriter
    told: Statuses
    channels: Channels
    memory: MemoryWriter
    history: MemoryWriter

    @classmethod
    def of(cls, channels: Channels, others: Sequence[str] = ()) -> "Pipes":
        """Return the ends of ``channels``; the events of ``others`` are heard."""
        return cls(
            StateWriter(channels.state),
            FeaturesReader(channels, silent_features(0)),
            QueueWriter(channels.events("control")),
            [QueueReader(channels.events(name)) for name in others],
            StatusWriter(channels.status("control")),
            Statuses.of(channels),
            channels,
            MemoryWriter(channels.memory("control")),
            MemoryWriter(channels.memory("history")),
        )


@dataclass(frozen=True, slots=True)
class ControlMemory:
    """What control leaves to the process that comes after it, besides state and history.

    ``take`` is the name and begin of the take that is recorded, ``plays`` the name of the one that is played and where
    the desk is in it.
    """

    desk: DeskMemory
    subscribers: tuple[Subscriber, ...]
    take: TakeMemory | None
    plays: tuple[str, int, int, int, int | None] | None
    troubles: dict[str, str]
    speaking: SpeakingMemory = field(default_factory=SpeakingMemory)
