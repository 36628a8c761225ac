"""Playback: a take goes in, and with the passing of time what of it falls due comes out."""

import math
from dataclasses import dataclass, replace

from vjserver.show.take import Played, Take
from vjserver.types.features import BeatGrid

ON_THE_BEAT = 1e-6  # of a beat: so near counts as on it
# What a take does not do a second time: it would write files and open doors.
ONCE = ("/vj/preset/save", "/vj/snapshot/store", "/vj/midi/", "/vj/output/", "/vj/record")


@dataclass(slots=True)
class Playback:
    """A take that is played: since when, and how far it has come; ``first_beat`` is its beat 0, once there is one."""

    take: Take
    t_ns: int
    place: int = 0
    beats: int = 0
    first_beat: int | None = None

    @classmethod
    def resumed(cls, take: Take, t_ns: int, place: int, beats: int, first_beat: int | None) -> "Playback":
        """Return one that another desk began."""
        return cls(take, t_ns, min(place, len(take.rows)), min(beats, len(take.on_beats)), first_beat)

    @property
    def progress(self) -> tuple[int, int, int, int | None]:
        """When it began, how far it has come, in time and in beats, and its beat 0."""
        return self.t_ns, self.place, self.beats, self.first_beat

    @property
    def over(self) -> bool:
        """Whether all of it has been played."""
        return self.place == len(self.take.rows) and self.beats == len(self.take.on_beats)

    @property
    def due_ns(self) -> int | None:
        """When the next message falls due that hangs on no beat."""
        rows = self.take.rows
        return self.t_ns + rows[self.place].t_ns if self.place < len(rows) else None

    def due(self, now_ns: int, ahead_ns: int, grid: BeatGrid, most: int) -> list[Played]:
        """Return what falls due, at most so much: by its time now, by its beat so early that the picture comes with it.

        Their times are those of the show.
        """
        due: list[Played] = []
        while len(due) < most and (next_ns := self.due_ns) is not None and next_ns <= now_ns:
            due.append(replace(self.take.rows[self.place], t_ns=next_ns))
            self.place += 1
        rows = self.take.on_beats
        if rows and grid.running:
            if self.first_beat is None:
                self.first_beat = grid.count + math.ceil(grid.beats_since(self.t_ns) - ON_THE_BEAT)
            beats = grid.count + grid.beats_since(now_ns + ahead_ns) - self.first_beat
            while len(due) < most and self.beats < len(rows) and (rows[self.beats].beat or 0.0) <= beats:
                due.append(replace(rows[self.beats], t_ns=now_ns))
                self.beats += 1
        return [row for row in due if not row.address.startswith(ONCE)]
