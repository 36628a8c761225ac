"""A take that is being recorded: what was played goes in, lines of a file come out, on the disk within a second.

Beside it lies what was heard, if the ear hands that on. One that a fall broke off is written on by the process that
comes after.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from vjserver.runtime.clock import NS
from vjserver.show.state import ShowState
from vjserver.show.take import Played, head, line
from vjserver.speech.subtitles import LINGERS_NS, Subtitles
from vjserver.stages.control.takesound import TakeSound
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError

SOUND, SUBTITLES = ".flac", ".srt"


@dataclass(frozen=True, slots=True)
class TakeMemory:
    """A take that is recorded: its name, when it began, and when which second of its sound was."""

    name: str
    began_ns: int
    sound_ns: int = 0
    sound_s: float = 0.0


class TakeWriter:
    """Writes one take at a time. What cannot be written raises ConfigError and ends the take."""

    def __init__(self, library: UserLibrary, sound: TakeSound | None = None) -> None:
        self._library, self._sound = library, sound
        self._file: BinaryIO | None = None
        self._flush_ns = 0
        self.subtitles: Subtitles | None = None
        """Of the take that is recorded."""
        self._subtitles_path: Path | None = None
        self._lingers_ns = 0
        self.name, self.began_ns = "", 0

    @property
    def memory(self) -> TakeMemory | None:
        """The take that is recorded, for a successor; None where none is."""
        if self._file is None:
            return None
        return TakeMemory(self.name, self.began_ns, *(self._sound.memory if self._sound is not None else (0, 0.0)))

    def begin(self, before: ShowState, t_ns: int, seed: int) -> str:
        """Begin a take from the state ``before``, chance being drawn from ``seed``; return the file's name."""
        path, file = self._library.new_take(time.strftime("%Y-%m-%d-%H%M%S"))
        self._file, self.name, self.began_ns = file, path.stem, t_ns
        self._put([head(replace(before, t_ns=t_ns), seed)])
        self._flush_ns = 0
        self.flush(t_ns)  # without its first line a take is none
        if self._sound is not None and self._file is not None:
            self._sound.begin(path.with_suffix(SOUND), t_ns)
        self._begin_subtitles(path.with_suffix(SUBTITLES))
        return path.name

    def _begin_subtitles(self, path: Path) -> None:
        try:
            count = path.read_text("utf-8").count(" --> ")
        except OSError:
            count = 0
        self._subtitles_path, self.subtitles = path, Subtitles(self._place_s, count)

    def _place_s(self, t_ns: int) -> float:
        """Return where a time lies in the take, as it lies in its sound."""
        return (self._sound.where_ns(t_ns) if self._sound is not None else t_ns - self.began_ns) / NS

    def _write_subtitles(self, now_ns: int, ends: bool = False) -> None:
        """Write what was said and is due. A line that cannot be written is left out: the take is what counts."""
        text = self.subtitles.due(now_ns, ends) if self.subtitles is not None else ""
        if text and self._subtitles_path is not None:
            with contextlib.suppress(OSError), self._subtitles_path.open("a", encoding="utf-8") as file:
                file.write(text)

    def resume(self, memory: TakeMemory) -> None:
        """Write a take on that a predecessor began."""
        self.name, self.began_ns = memory.name, memory.began_ns
        path, self._file = self._library.take_again(self.name)
        if self._sound is not None:
            self._sound.begin(path.with_suffix(SOUND), memory.sound_ns or memory.began_ns, memory.sound_s)
        self._begin_subtitles(path.with_suffix(SUBTITLES))

    def write(self, performed: Iterable[Played]) -> None:
        """Write what was played, but for what records and plays takes itself."""
        if self._file is not None:
            self._put(self._line(row) for row in performed if not row.address.startswith("/vj/take/"))

    def _line(self, row: Played) -> bytes:
        """Return a message's line: its time is where it falls in the sound, where that is recorded."""
        if self._sound is None:
            return line(row, self.began_ns)
        return line(replace(row, t_ns=self._sound.place_ns(row.t_ns)), 0)

    def flush(self, now_ns: int) -> None:
        """Have it on the disk, once a second; what was said at the end of the last one too."""
        if self._file is None and self.subtitles is not None:
            over = now_ns >= self._lingers_ns
            self._write_subtitles(now_ns, ends=over)
            self.subtitles = None if over else self.subtitles
        if self._file is not None and now_ns >= self._flush_ns:
            self._flush_ns = now_ns + NS
            self._write_subtitles(now_ns)
            with self._ended_by_a_fault():
                self._file.flush()

    def end(self, now_ns: int) -> None:
        """End the take, if one is recorded."""
        if self._file is None:
            return
        self._write_subtitles(now_ns)
        if self.subtitles is not None:  # the last sentence is still to come
            self.subtitles.end(now_ns)
            self._lingers_ns = now_ns + LINGERS_NS
        with contextlib.suppress(ConfigError):
            self._put([self._line(Played(now_ns, "/vj/take/stop", ()))])
        self._close(now_ns)

    def wait(self, seconds: float) -> None:
        """Wait for the sound of the last take to be on the disk, so long at most."""
        if self._sound is not None:
            self._sound.wait(seconds)

    def _put(self, rows: Iterable[bytes]) -> None:
        assert self._file is not None
        with self._ended_by_a_fault():
            for row in rows:
                self._file.write(row)

    @contextlib.contextmanager
    def _ended_by_a_fault(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._close()
            raise ConfigError(f"take {self.name} is broken off: {error.strerror}") from None

    def _close(self, now_ns: int | None = None) -> None:
        if self._sound is not None:
            self._sound.end(now_ns)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None
