"""Transcriber: chunks of sound go in, jobs for a recogniser come out; its answers go in, what was said comes out.

Pure: time comes with the sound, and whoever decodes (a thread on stage, the same thread for a file) fetches the next
job when it is free. What matters most comes first: what somebody has finished saying, then what is being said, then
what may be heard better with more time. What comes too late to be of use is left out, and nobody waits for it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vjserver.speech.guards import LEAST_VOICE_S, is_made_up, told
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.segmenter import CHUNK_S, Segmenter
from vjserver.speech.words import Agreement, ContextName, Hypothesis
from vjserver.types.audio import Float32
from vjserver.types.events import Speech, SpokenWord

NS = 1_000_000_000
PRE_ROLL_S = 0.4
BEFORE_ONSET_S = 0.06
"""So late a voice is noticed, at most."""
MOST_S = 28.0
"""Sound that is kept of one utterance, and of those of the microphone that wait."""
MOST_WAITING = 16
GONE_NS = 2 * NS
"""A phone from which nothing came for so long holds no button any more."""
FIRST_PARTIAL_S, AGAIN_S, PARTIAL_S = 0.4, 0.25, 0.8
"""When it is first tried to understand somebody, how soon again while nothing is understood, and then how often."""
REVISE_WITHIN_S = 2.2
COMMIT_AFTER_S = 4.0
"""A phrase of somebody who is still speaking moves the picture only after so long: it may yet be taken back."""
Kind = Literal["partial", "final", "revised"]
CONTEXT_OF: dict[Kind, ContextName] = {"partial": "partial", "final": "short", "revised": "full"}


@dataclass(frozen=True, slots=True)
class Job:
    """Sound to be decoded: mono float32 at 16 kHz. ``t_ns`` is the time of its last sample."""

    kind: Kind
    number: int
    sound: Float32
    t_ns: int

    @property
    def context(self) -> ContextName:
        """How much of its art the recogniser is to use."""
        return CONTEXT_OF[self.kind]


@dataclass(slots=True, eq=False, repr=False)
class _Utterance:
    """What one person says from one pause to the next. ``t_ns`` is the time of the last sample of ``chunks``."""

    number: int
    talker: str
    begin_ns: int
    t_ns: int = 0
    chunks: list[Float32] = field(default_factory=list)
    voice_s: float = 0.0
    voiced_ns: int = 0
    """Until when there was a voice in it."""
    onset_ns: int = 0
    """Since when."""
    heard_ns: int = 0
    """When the last of it came."""
    ended: bool = False
    agreement: Agreement = field(default_factory=Agreement)
    tried_ns: int = 0
    shown: bool = False

    @property
    def sound(self) -> Float32:
        """All of it, as far as it is kept."""
        return np.concatenate(self.chunks) if self.chunks else np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return sum(map(len, self.chunks)) / RATE_HZ


class Transcriber:
    """Everything that is being said, by the microphone and by who talks through the page.

    ``choose(text, language)`` returns the phrase of a text that is a picture, ``""`` where there is none.
    ``clean(text)`` returns a text as it may be shown, and whether anything in it may not. ``wakes(text)`` tells whether
    it begins with the wake word; ``mends(text, sound)`` returns a text whose wake word was misheard with the right one.
    ``revises``: whether the recogniser hears more where it has more time.
    ``first``: the number of the first utterance; who comes after another must give none twice.
    """

    def __init__(
        self,
        choose: Callable[[str, str], str],
        clean: Callable[[str], tuple[str, bool]] = lambda text: (text, False),
        wakes: Callable[[str], bool] = lambda _text: False,
        segmenter: Segmenter | None = None,
        mends: Callable[[str, Float32], str] = lambda text, _sound: text,
        revises: bool = True,
        first: int = 1,
    ) -> None:
        self._revises = revises
        self._choose_phrase, self._clean, self._wakes, self._mends = choose, clean, wakes, mends
        self.segmenter = segmenter or Segmenter()
        self._before: deque[Float32] = deque(maxlen=round(PRE_ROLL_S / CHUNK_S) + 2)  # two until it was noticed
        self._speaks: dict[str, _Utterance] = {}
        self._waiting: deque[_Utterance] = deque()
        self._again: deque[_Utterance] = deque(maxlen=4)
        self._in_work: _Utterance | None = None
        self._number = first - 1
        self._takes_s: dict[str, float] = {"partial": 0.3, "short": 0.4, "full": 0.9}
        self._held = False
        self._lost: list[Speech] = []
        self.left_out = 0
        """Utterances that were not decoded, because the recogniser was too far behind."""

    # -- what is heard -------------------------------------------------------------------------------------

    def hear(self, chunk: Float32, t_ns: int, likely: float) -> None:
        """Take a segmenter's chunk of the microphone, the time of its last sample, and how likely it is speech."""
        what = self.segmenter.hear(likely) if not self._held else ""
        if what == "begin":
            self._begin("", t_ns)
        one = self._speaks.get("")
        if one is None:
            self._before.append(chunk)
            return
        self._add(one, chunk, t_ns, likely > self.segmenter.o.off)
        if what == "cut" or one.seconds >= MOST_S:
            self._cut(one)
        elif what == "end":
            self._end("")

    def hold(self, on: bool, t_ns: int) -> None:
        """Push to talk: all of it is speech from now on (``on``), or it ends here."""
        if on == self._held:
            return
        self._held = on
        self._end("")
        self.segmenter.stop()
        if on:
            self._begin("", t_ns)

    def talk(self, talker: str, chunk: Float32, t_ns: int, likely: float, now_ns: int = 0) -> None:
        """Take some sound of one who holds a button on a page, which came ``now_ns``; more than fits is left out."""
        one = self._speaks.get(talker) or self._begin(talker, t_ns)
        one.heard_ns = now_ns or t_ns
        if one.seconds < MOST_S:
            self._add(one, chunk, t_ns, likely > self.segmenter.o.off)

    def tick(self, now_ns: int) -> None:
        """End what people of the page were saying whose phones fell silent without a word."""
        for talker, one in list(self._speaks.items()):
            if talker and now_ns - one.heard_ns > GONE_NS:
                self._end(talker)

    def lost(self) -> list[Speech]:
        """Return, once, what is to be told of what was left out: who waits for an answer gets one."""
        lost, self._lost = self._lost, []
        return lost

    def talked(self, talker: str) -> None:
        """One of the page let go of the button."""
        self._end(talker)

    def hush(self) -> None:
        """Forget what is being said into the microphone: it was switched off, or has gone."""
        self.segmenter.stop()
        self._held = False
        self._end("")
        self._before.clear()

    def _begin(self, talker: str, t_ns: int) -> _Utterance:
        self._number += 1
        before = list(self._before) if not talker else []
        if not talker:
            self._before.clear()
        early_ns = round((len(before) + 1) * CHUNK_S * NS)
        one = _Utterance(self._number, talker, t_ns - early_ns, t_ns, before)
        one.tried_ns = t_ns - round((AGAIN_S - FIRST_PARTIAL_S) * NS)
        self._speaks[talker] = one
        return one

    @staticmethod
    def _add(one: _Utterance, chunk: Float32, t_ns: int, voice: bool) -> None:
        one.chunks.append(chunk)
        one.t_ns = t_ns
        if voice:
            one.voice_s += len(chunk) / RATE_HZ
            one.voiced_ns = t_ns
            one.onset_ns = one.onset_ns or t_ns - round(len(chunk) / RATE_HZ * NS)

    def _cut(self, one: _Utterance) -> None:
        """Cut what somebody says without a pause, where it was least like speech; the rest is the next utterance."""
        back = min(self.segmenter.least_like_speech(), len(one.chunks) - 1)
        rest = one.chunks[-back:]
        del one.chunks[-back:]
        t_ns = one.t_ns
        one.t_ns -= round(back * CHUNK_S * NS)
        self._end(one.talker)
        self._before.clear()
        after = self._begin(one.talker, t_ns)
        after.chunks, after.begin_ns = rest, one.t_ns
        after.voice_s, after.voiced_ns, after.onset_ns = len(rest) * CHUNK_S, t_ns, one.t_ns

    def _end(self, talker: str) -> None:
        one = self._speaks.pop(talker, None)
        if one is None or (one.voice_s < LEAST_VOICE_S and not one.shown and not talker):
            return  # who holds a button on a page waits for an answer, and gets one
        one.ended = True
        if not talker:  # what follows soon does not begin with the end of this one
            self._before.clear()
        self._waiting.append(one)
        while (late := self._too_late()) is not None:
            self._waiting.remove(late)
            self.left_out += 1
            self._lost += self._nothing(late, "")

    def _too_late(self) -> _Utterance | None:
        """Return what is left out because more waits than may: the oldest of the microphone, then of all."""
        idle = [one for one in self._waiting if one is not self._in_work]
        mine = [one for one in idle if not one.talker]
        if len(mine) > 1 and sum(one.seconds for one in mine) > MOST_S:
            return mine[0]
        return (mine or idle)[0] if len(self._waiting) > MOST_WAITING else None

    # -- who decodes ---------------------------------------------------------------------------------------

    def next_job(self, now_ns: int) -> Job | None:
        """Return what is to be decoded now, or None; :meth:`done` or :meth:`failed` gives it back."""
        if self._in_work is not None:
            return None
        if self._waiting:
            return self._job("final", self._waiting[0])
        due = [one for one in self._speaks.values() if self._is_due(one)]
        if due:
            one = min(due, key=lambda other: other.tried_ns)
            one.tried_ns = one.t_ns
            return self._job("partial", one)
        while self._again and not self._speaks:
            one = self._again.popleft()
            if now_ns + round(self._takes_s["full"] * NS) <= one.voiced_ns + round(REVISE_WITHIN_S * NS):
                return self._job("revised", one)
        return None

    def _is_due(self, one: _Utterance) -> bool:
        takes_s = self._takes_s["partial"]
        every_s = max(PARTIAL_S, 2.0 * takes_s) if one.shown else max(AGAIN_S, takes_s)
        pause = not one.talker and self.segmenter.quiet_s > 0.2  # it may be over: the last word follows soon
        return one.voice_s >= LEAST_VOICE_S and not pause and one.t_ns - one.tried_ns >= round(every_s * NS)

    def _job(self, kind: Kind, one: _Utterance) -> Job:
        self._in_work = one
        return Job(kind, one.number, one.sound, one.t_ns)

    def failed(self, job: Job) -> list[Speech]:
        """Give a job back that could not be done: it is left out. Returns what is to be told of it."""
        one, self._in_work = self._in_work, None
        if job.kind != "final" or one is None:
            return []
        if one in self._waiting:
            self._waiting.remove(one)
        return self._nothing(one, "")

    def _nothing(self, one: _Utterance, language: str) -> list[Speech]:
        """Return what is told of an utterance of which nothing was understood, to who saw it or waits for it."""
        return [self._told("final", one, Hypothesis("", language), "")] if one.shown or one.talker else []

    def done(self, job: Job, found: Hypothesis, took_s: float) -> list[Speech]:
        """Take an answer, and how long it took; return what is to be told of it."""
        one, self._in_work = self._in_work, None
        context = job.context
        self._takes_s[context] += 0.3 * (took_s - self._takes_s[context])
        if one is None or one.number != job.number:
            return []
        made_up = is_made_up(found, max(one.voice_s, LEAST_VOICE_S))
        if job.kind == "partial":
            return self._partial(one, found, job) if not (made_up or one.ended) else []
        if job.kind == "revised":
            return [] if made_up else [self._told("revised", one, found, told(found.text))]
        if one in self._waiting:
            self._waiting.remove(one)
        if made_up:
            return self._nothing(one, found.language)
        if self._revises:
            self._again.append(one)
        return [self._told("final", one, found, told(found.text))]

    def _partial(self, one: _Utterance, found: Hypothesis, job: Job) -> list[Speech]:
        before = (one.agreement.text, one.agreement.agreed)
        one.agreement.hear(told(found.text))
        if (one.agreement.text, one.agreement.agreed) == before:
            return []
        one.shown = True
        text, _ = self._clean(one.agreement.text)
        agreed, refused = self._clean(one.agreement.agreed)
        late = job.t_ns - one.begin_ns >= round(COMMIT_AFTER_S * NS)
        phrase = self._phrase(agreed, found.language) if late and not refused else ""
        return [
            Speech(
                job.t_ns, "partial", one.number, text, phrase, found.language, found.confidence, one.begin_ns,
                one.talker, agreed, wake=self._wakes(text),
            )
        ]  # fmt: skip

    def _phrase(self, text: str, language: str) -> str:
        """Return what of a text is a picture; what is meant for us is none."""
        phrase = self._choose_phrase(text, language) if text and not self._wakes(text) else ""
        return "" if self._clean(phrase)[1] else phrase  # without filler its words stand otherwise

    def _told(self, kind: Kind, one: _Utterance, found: Hypothesis, text: str) -> Speech:
        shown, refused = self._clean(text if one.talker else self._mends(text, one.sound))
        phrase = self._phrase(shown, found.language) if not refused else ""
        onset_s = max(0.0, (one.onset_ns - one.begin_ns) / NS - BEFORE_ONSET_S)  # no word begins in the pre-roll
        timed = [word for word in found.words if word.begin_s >= 0.0 and told(word.text)]
        texts = shown.split()  # never the recogniser's own, which may hold what is not shown
        words = tuple(
            SpokenWord(own, round(max(onset_s, word.begin_s), 2), round(max(onset_s, word.end_s), 2))
            for own, word in zip(texts, timed, strict=False)
        )
        return Speech(
            one.voiced_ns or one.t_ns, kind, one.number, shown, phrase, found.language, found.confidence,
            one.begin_ns, one.talker, "", words if len(texts) == len(timed) else (), self._wakes(shown),
        )  # fmt: skip

    # -- how it goes ---------------------------------------------------------------------------------------

    @property
    def speaking(self) -> bool:
        """Whether anybody speaks."""
        return any(one.voice_s >= LEAST_VOICE_S for one in self._speaks.values())

    @property
    def talkers(self) -> set[str]:
        """Who speaks through the page."""
        return {talker for talker in self._speaks if talker}

    @property
    def busy(self) -> bool:
        """Whether anything waits to be decoded, or is."""
        return bool(self._waiting or self._again) or self._in_work is not None

    def lag_s(self, now_ns: int) -> float:
        """Return for how long the oldest that was said waits to be written down."""
        if not self._waiting:
            return 0.0
        return max(0.0, (now_ns - self._waiting[0].voiced_ns) / NS - self.segmenter.o.hang_s)
