"""Boarding: what was said or typed, and is on the wall, becomes a card of tonight's board, with the picture of it.

A card is there as soon as its phrase is the picture's; the picture is taken two seconds later, when travels and models
have arrived, or in the last moment before another phrase. What the disk does happens on a thread of its own.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Heard, Picture, Version
from vjserver.keeping.wishes import alone
from vjserver.runtime import log
from vjserver.runtime.clock import NS
from vjserver.show.state import LOOK, Look, ShowState
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.events import Argument, Speech
from vjserver.types.frames import Pixels

AFTER_NS = 2 * NS
"""So long after a phrase became the picture's, the picture is of it."""
LOOKED_EVERY_NS = NS // 4
REMEMBERED = 64
MOST_WAITING = 32
"""So many changes wait for a slow disk; more are left out, and that is said."""
Announce = Callable[[str, str, bool], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the picture is of: the phrase, whether it was said, and the sentence, once that has come to its end."""

    phrase: str
    spoken: bool = False
    said: Speech | None = None


@dataclass(slots=True)
class _Waiting:
    """A phrase whose picture is not taken yet: its card is being written, or there."""

    subject: Subject
    since_ns: int
    look: Look
    card: int = 0


class BoardRoom:
    """Keeps cards of what is on the wall.

    ``state`` returns the state, ``spoken`` the phrase that the picture is of, if somebody said it; ``snap`` the newest
    picture (RGBA), ``encode`` turns it into a kept one. ``seen`` is told each spoken phrase with its picture, kept or
    not; ``licence`` returns that of a generator's model. ``announce`` tells what does not work; ``open_boards`` may
    raise KeepingError.
    """

    def __init__(
        self,
        state: Callable[[], ShowState],
        spoken: Callable[[], Subject | None],
        snap: Callable[[], Pixels | None],
        encode: Callable[[Pixels], Picture],
        announce: Announce,
        seen: Callable[[str, bytes], None] = lambda *_: None,
        licence: Callable[[str, str], str] = lambda *_: "",
        open_boards: Callable[[], Boards] = Boards,
    ) -> None:
        self._licence = licence
        self._state, self._spoken, self._snap, self._encode = state, spoken, snap, encode
        self._announce, self._seen, self._open = announce, seen, open_boards
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="boards")
        self._jobs = 0
        self._boards: Boards | None = None
        self._typed: deque[str] = deque(maxlen=REMEMBERED)
        self._last_typed = ""
        self._now: _Waiting | None = None
        self._subject: Subject | None = None
        self._unheard: _Waiting | None = None
        self._newest = 0
        self._trouble = self._used = False
        self._news: deque[tuple[str, bool]] = deque(maxlen=8)
        self._looked_ns = 0

    # -- what happens on stage -----------------------------------------------------------------------------

    def hear(self, address: str, args: Sequence[Argument]) -> None:
        """A message took effect: prompts in it are remembered as typed."""
        self._typed.extend(prompts_in(address, args))

    def look(self, now_ns: int) -> None:
        """See what the picture is of, and whether it is time to take it."""
        if now_ns - self._looked_ns < LOOKED_EVERY_NS:
            return
        self._looked_ns = now_ns
        while self._news:
            why, recovered = self._news.popleft()
            self._announce("board", why, recovered)
        subject = self._on_the_wall()
        if (subject.phrase if subject else "") != (self._subject.phrase if self._subject else ""):
            if self._now is not None:  # the ring still shows what was there until now
                self._take(self._now)
            self._now, self._subject, self._unheard = None, subject, None
            if subject is not None and self._is_new(subject):
                self._begin(subject, now_ns)
            return
        if self._unheard is not None and subject is not None and subject.said is not None:
            self._later(partial(self._hear_out, self._unheard, subject.said))  # whoever talks long ends later
            self._unheard = None
        if self._now is not None:
            if self._is_covered():
                self._now.since_ns = now_ns
            elif now_ns - self._now.since_ns >= AFTER_NS:
                self._take(self._now)
                self._now = None

    def _on_the_wall(self) -> Subject | None:
        spoken = self._spoken()
        if spoken is not None:
            return spoken
        text = self._state().heaviest
        return Subject(text) if text and text in self._typed else None

    def _is_new(self, subject: Subject) -> bool:
        """Tell whether it is another card: a typed prompt that comes back after somebody spoke is none."""
        if subject.spoken:
            return True
        again, self._last_typed = subject.phrase == self._last_typed, subject.phrase
        return not again

    def _is_covered(self) -> bool:
        state = self._state()
        return state.blackout or state.freeze or state.safe or state.fade < 0.95

    def _begin(self, subject: Subject, now_ns: int) -> None:
        state = self._state()
        look = Look(**{name: getattr(state, name) for name in LOOK})
        waiting = self._now = _Waiting(subject, now_ns, look)
        if state.keep:
            self._later(partial(self._add, waiting, time.time()))
            self._unheard = waiting if subject.spoken and subject.said is None else None

    def _take(self, waiting: _Waiting) -> None:
        pixels = None if self._is_covered() else self._snap()
        if pixels is None:
            return

        def keep() -> None:
            picture = self._encode(pixels)
            if waiting.subject.spoken:
                self._seen(waiting.subject.phrase, picture.small)
            if waiting.card:
                version = version_of(waiting.look, waiting.subject.phrase)
                licence = self._licence(version.generator, version.model)
                with contextlib.suppress(ConfigError):  # somebody has deleted the card meanwhile
                    self._open_boards().put(waiting.card, replace(version, licence=licence), picture)

        self._later(keep)

    # -- hands ---------------------------------------------------------------------------------------------

    def star(self) -> None:
        """Give the newest card a star."""
        self._later(lambda: self._newest and self._open_boards().write(self._newest, star=True))

    def new(self, name: str) -> None:
        """Begin another board."""
        self._later(lambda: self._open_boards().make(name.strip() or time.strftime("%Y-%m-%d %H:%M")))

    # -- the thread ----------------------------------------------------------------------------------------

    def _add(self, waiting: _Waiting, t_s: float) -> None:
        subject = waiting.subject
        boards = self._open_boards()
        board = boards.tonight(time.strftime("%Y-%m-%d"))
        heard: Heard = "said" if subject.spoken else "typed"
        self._newest = waiting.card = boards.add(board.id, Card(text=subject.phrase, heard=heard, t_s=t_s)).id
        if subject.said is not None:
            self._hear_out(waiting, subject.said)

    def _hear_out(self, waiting: _Waiting, said: Speech) -> None:
        """Write down the sentence that a card came from, with its sound where that is kept."""
        if waiting.card:
            boards = self._open_boards()
            boards.hear(waiting.card, said.text, said.talker, said.language)
            flac, seconds = boards.said.take(said.number)
            if flac:
                boards.keep_sound(waiting.card, flac, seconds)
            boards.said.sweep()

    def _later(self, handler: Callable[[], object]) -> None:
        """Do something with the boards on their thread; what fails is announced once, and the show goes on."""
        if self._jobs >= MOST_WAITING:
            self._tell(f"more than {MOST_WAITING} cards wait for the disk: one is left out")
            return
        self._jobs += 1
        self._thread.submit(self._do, handler)

    def _do(self, handler: Callable[[], object]) -> None:
        self._used = False
        try:
            handler()
        except VJError as error:
            self._tell(f"{error}; the card is left out")
        except Exception as error:  # noqa: BLE001 - a disk, a library: the show goes on without that card
            log.write_fault("control", "a card could not be kept", error)
            self._tell(f"{type(error).__name__}: {error}; the card is left out")
        else:
            if self._trouble and self._used:
                self._trouble = False
                self._news.append(("cards are kept again", True))
        finally:
            self._jobs -= 1

    def _open_boards(self) -> Boards:
        if self._boards is None:
            self._boards = self._open()
        self._used = True
        return self._boards

    def _tell(self, why: str) -> None:
        if not self._trouble:
            self._trouble = True
            self._news.append((why, False))

    def close(self) -> None:
        """Finish what waits, and close the boards."""
        self._thread.shutdown(wait=True)
        if self._boards is not None:
            self._boards.close()


def prompts_in(address: str, args: Sequence[Argument]) -> list[str]:
    """Return the prompts that a message brings."""
    if not args or not isinstance(args[0], str):
        return []
    if address == "/vj/prompt/queue":
        return [line.strip() for line in args[0].splitlines() if line.strip()]
    typed = address == "/vj/prompt/push" or (address.startswith("/vj/prompt/") and address.endswith("/text"))
    return [args[0]] if typed and args[0].strip() else []


def version_of(look: Look, phrase: str) -> Version:
    """Return what is written down of a picture that was on the wall."""
    heaviest = max(zip(look.weights, look.texts, strict=True))[1]
    text = next((text for text in look.texts if phrase and phrase in text), heaviest)
    return Version(
        prompt=text, negative=look.negative, seed=look.seed, generator=look.generator, model=look.model,
        look=msgspec.json.encode(alone(look, text)),
    )  # fmt: skip
