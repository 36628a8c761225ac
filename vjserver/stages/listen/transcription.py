"""Transcription: a microphone goes in, what was said comes out, live; and a whole file, as it would have been.

The loop reads sound, asks how likely it is speech, and lets a thread decode; it waits for nobody, and nobody waits for
it. What is said into the page comes as a queue, from people who each hold a button, and takes its turn.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from math import log10

import numpy as np

from vjserver.ports import Recogniser, Source
from vjserver.recognisers.voice import VoiceDetector
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.soundring import SoundReader
from vjserver.runtime.status import ListenStatus
from vjserver.show.state import Speech as Wishes
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.segmenter import CHUNK, CHUNK_S
from vjserver.speech.transcriber import Job, Transcriber
from vjserver.speech.words import Hypothesis
from vjserver.stages.listen.pipes import ListenPipes, Stream, Understanding
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import DeviceError, VJError, WorkerFault
from vjserver.types.events import Degraded, Speech, TalkerSound

RETRY_S = (0.5, 1.0, 2.0, 4.0)
WITHOUT_S = 30.0
"""So long until weights that were missing are looked for again."""
IDLE_NS = 50_000_000
SLOW_S, HANGS_S = 5.0, 20.0
"""A decode that takes longer is told, and one that takes longer still ends this process: a new one begins."""
QUIETEST_DB, LOUDEST_DB = -60.0, -10.0
MOST_TALKERS = 16
MOST_SIGNS = 600
VOICE_IN_MUSIC_S = 0.6


class Listen:
    """The live loop's state.

    ``source`` makes the microphone, which is opened on ``opener``; ``wanted`` returns what the show wants. ``keep`` is
    given the number and the sound of each sentence that has a phrase, if sound is kept.
    """

    def __init__(
        self,
        source: Callable[[], Source],
        wanted: Callable[[], Wishes],
        understanding: Understanding,
        clock: Clock,
        pipes: ListenPipes,
        opener: Executor,
        keep: Callable[[int, Float32], None] | None = None,
    ) -> None:
        self._keep = keep
        self._make, self._wanted, self._clock, self._pipes = source, wanted, clock, pipes
        self._local, self._said = understanding.local, understanding.transcriber
        self._thread, self._hints = understanding.thread, understanding.hints
        self._microphone: Source | None = None
        self._music: SoundReader | None = None
        self._heard, self._ring = Stream(), Stream()
        self._talkers: dict[str, Stream] = {}
        self._opening: Future[None] | None = None
        self._coming: tuple[Source, Future[None]] | None = None
        self._opener, self._ready = opener, understanding.ready
        self._job: tuple[Job, Future[Hypothesis], int] | None = None
        self._slow, self._fault = False, ""
        self._again_ns = self._retry_ns = self._retries = 0
        self._next_stats_ns = 0
        self._troubles: set[str] = set()
        self._likely = self._level = self._music_voice = 0.0
        self._left_out = self._lost = self._finals = 0
        self._takes: dict[str, float] = {}

    def run(self, stopped: Callable[[], bool]) -> None:
        """Listen until ``stopped``."""
        try:
            while not stopped():
                self.step()
        finally:
            self.close()

    def step(self) -> None:
        """Hear what there is now, and tell what has been understood."""
        now_ns, wishes = self._clock.now_ns(), self._wanted()
        self._follow(wishes, now_ns)
        block = self._read(wishes, now_ns)
        if block is not None:
            self._hear(block, wishes)
        self._said.hold(wishes.mode == "push" and wishes.talk, self._clock.now_ns())
        self._hear_music(wishes)
        self._hear_talkers()
        self._work(wishes)
        self._tell()

    # -- the sound -----------------------------------------------------------------------------------------

    def _follow(self, wishes: Wishes, now_ns: int) -> None:
        """Have a recogniser ready, and the right sound open."""
        if not self._ready and now_ns >= self._again_ns:
            self._get_ready(now_ns)
        if wishes.source == "music":
            if self._microphone is not None:
                self._close_microphone()
            if self._troubles & {"microphone"}:
                self._announce("microphone", "it is not needed: the music is listened to", recovered=True)
        elif self._microphone is None and now_ns >= self._retry_ns:
            self._open_microphone(now_ns)

    def _get_ready(self, now_ns: int) -> None:
        if self._opening is None:
            self._opening = self._thread.submit(self._local.open)
        elif self._opening.done():
            opened, self._opening = self._opening, None
            try:
                opened.result()
            except VJError as error:
                self._again_ns = now_ns + round(WITHOUT_S * NS)
                self._announce("speech", str(error))
            else:
                self._ready = True
                if "speech" in self._troubles:
                    self._announce("speech", "it is written down again", recovered=True)

    def _open_microphone(self, now_ns: int) -> None:
        """Open it beside the loop: a sound server may take long to answer, or never do."""
        if self._coming is None:
            source = self._make()
            self._coming = source, self._opener.submit(source.open)
        source, opened = self._coming
        if not opened.done():
            return
        self._coming = None
        try:
            opened.result()
        except VJError as error:
            source.close()
            self._fail(str(error), now_ns)
            return
        self._microphone, self._heard = source, Stream()
        if "microphone" in self._troubles:
            self._announce("microphone", "it is back", recovered=True)
        self._retries = 0

    def _fail(self, why: str, now_ns: int) -> None:
        wait_s = RETRY_S[min(self._retries, len(RETRY_S) - 1)]
        self._retries += 1
        self._retry_ns = now_ns + round(wait_s * NS)
        self._likely = self._level = 0.0
        if "microphone" not in self._troubles:
            self._announce("microphone", f"{why}; it is tried again")

    def _close_microphone(self) -> None:
        if self._microphone is not None:
            self._microphone.close()
        self._microphone = None
        self._likely = self._level = 0.0
        self._said.hush()

    def close(self) -> None:
        """Let the sound go; may be called twice."""
        self._close_microphone()
        if self._music is not None:
            self._music.close()
        self._music = None

    def _read(self, wishes: Wishes, now_ns: int) -> AudioBlock | None:
        """Return the next sound of what is listened to, or None after a short while."""
        until_ns = now_ns + IDLE_NS
        if wishes.source == "music":
            self._clock.sleep_until(until_ns)
            return self._of_music()
        if self._microphone is None:
            self._clock.sleep_until(until_ns)
            return None
        try:
            return self._microphone.read(until_ns)
        except DeviceError as error:
            self._close_microphone()
            self._fail(str(error), now_ns)
            return None

    def _of_music(self) -> AudioBlock | None:
        if self._music is None:
            try:
                self._music = self._pipes.music()
            except FileNotFoundError:
                return None
        return self._music.get()

    def _hear(self, block: AudioBlock, wishes: Wishes) -> None:
        loud = float(np.sqrt(np.mean(np.square(block.samples)))) if block.samples.size else 0.0
        level_db = 20.0 * log10(max(loud, 1e-6))
        self._level = min(1.0, max(0.0, (level_db - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB)))
        for chunk, t_ns, likely in self._heard.take(block):
            self._likely = likely
            if wishes.mode == "open" or wishes.talk:
                self._said.hear(chunk, t_ns, likely)
            else:
                self._said.hush()

    def _hear_music(self, wishes: Wishes) -> None:
        """Ask more of the microphone while the music itself has a voice."""
        if wishes.source == "music":
            self._said.segmenter.raised = False
            return
        block = self._of_music()
        if block is None:  # the ear hears nothing now
            self._music_voice *= 0.98
        for _chunk, _t_ns, likely in self._ring.take(block) if block is not None else ():
            share = CHUNK_S / VOICE_IN_MUSIC_S
            self._music_voice += share * (likely - self._music_voice)
        self._said.segmenter.raised = self._music_voice > 0.3

    def _hear_talkers(self) -> None:
        events, lost = self._pipes.talk()
        now_ns = self._clock.now_ns()
        for event in events:
            if not isinstance(event, TalkerSound):
                continue
            if event.talker not in self._talkers and len(self._talkers) < MOST_TALKERS:
                self._talkers[event.talker] = Stream()
            stream = self._talkers.get(event.talker)
            if stream is None:
                self._announce(
                    "talkers", f"more than {MOST_TALKERS} talk through the page at once: the last one is not heard"
                )
                continue
            sound = np.frombuffer(event.samples, np.int16).astype(np.float32) / 32768.0
            for chunk, t_ns, likely in stream.take(AudioBlock(sound, RATE_HZ, event.t_ns)):
                self._said.talk(event.talker, chunk, t_ns, likely, now_ns)
            if event.ends:
                self._said.talked(event.talker)
                del self._talkers[event.talker]
        self._said.tick(now_ns)
        for said in self._said.lost():
            self._pipes.tell(said)
        for name in self._talkers.keys() - self._said.talkers:  # their phones fell silent
            del self._talkers[name]
        if lost > self._lost:
            self._lost = lost
            self._announce("talkers", "some of what was said into the page was lost: too much came at once")
        elif "talkers" in self._troubles and not self._talkers:
            self._announce("talkers", "they are heard again", recovered=True)

    # -- what is made of it --------------------------------------------------------------------------------

    def _work(self, wishes: Wishes) -> None:
        now_ns = self._clock.now_ns()
        if self._job is not None:
            job, answer, began_ns = self._job
            took_s = (now_ns - began_ns) / NS
            if not answer.done():
                self._watch(took_s)
                return
            self._job = None
            self._take(job, answer, took_s)
        if not self._ready:
            if self._said.lag_s(now_ns) > WITHOUT_S:  # nobody is here who could write it down
                left = self._said.next_job(now_ns)
                for said in self._said.failed(left) if left is not None else ():
                    self._pipes.tell(said)
            return
        next_job = self._said.next_job(now_ns)
        if next_job is not None:
            language = wishes.language.strip().lower()
            language = "" if language == "auto" else language
            began = self._thread.submit(self._local.decode, next_job.sound, language, next_job.context, self._hints)
            self._job = next_job, began, now_ns

    def _take(self, job: Job, answer: "Future[Hypothesis]", took_s: float) -> None:
        try:
            found = answer.result()
        except Exception as error:  # noqa: BLE001 - a library of strangers: what was said is lost, the next is not
            for said in self._said.failed(job):
                self._pipes.tell(said)
            if not isinstance(error, VJError):
                log.write_fault("listen", "what was said could not be written down", error)
            self._announce("speech", str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {error}")
            return
        if "speech" in self._troubles:
            self._announce("speech", "it is written down again", recovered=True)
        if found.fault and found.fault != self._fault:
            self._announce("recogniser", found.fault)
        elif self._fault and not found.fault:
            self._announce("recogniser", "it answers again", recovered=True)
        self._fault = found.fault
        self._slow = False
        self._takes[job.kind] = round(took_s, 3)
        for said in self._said.done(job, found, took_s):
            self._finals += said.kind == "final"
            self._keep_sound(said, job)
            try:
                self._pipes.tell(said)
            except ValueError:  # it is longer than an event may be
                self._pipes.tell(replace(said, words=(), text=said.text[:MOST_SIGNS], agreed=said.agreed[:MOST_SIGNS]))

    def _keep_sound(self, said: Speech, job: Job) -> None:
        if self._keep is None or said.kind != "final" or not said.phrase or said.wake:
            return
        try:
            self._keep(said.number, job.sound)
        except OSError as error:
            self._announce("speech sound", f"it cannot be kept: {error.strerror}")
            self._keep = None  # it is told once, and not tried again

    def _watch(self, took_s: float) -> None:
        if took_s > HANGS_S:
            raise WorkerFault(f"the recogniser gave no answer for {HANGS_S:g} s")
        if took_s > SLOW_S and not self._slow:
            self._slow = True
            self._announce("speech", "the recogniser is slow: this machine is too busy")

    def _tell(self) -> None:
        now_ns = self._clock.now_ns()
        self._pipes.voice(now_ns, self._likely, self._level)
        if now_ns < self._next_stats_ns:
            return
        self._next_stats_ns = now_ns + NS // 4
        if self._said.left_out > self._left_out:
            count, self._left_out = self._said.left_out - self._left_out, self._said.left_out
            self._announce("speech behind", f"{count} sentences were left out: more was said than can be written down")
        elif "speech behind" in self._troubles and not self._said.busy:
            self._announce("speech behind", "it keeps up again", recovered=True)
        self._pipes.status(
            ListenStatus(
                t_ns=now_ns,
                ready=self._ready,
                microphone="open" if self._microphone is not None else "closed",
                speaking=self._said.speaking,
                likely=round(self._likely, 2),
                level=round(self._level, 2),
                raised=self._said.segmenter.raised,
                lag_s=round(self._said.lag_s(now_ns), 2),
                finals=self._finals,
                takes_s=self._takes,
            )
        )

    def _announce(self, what: str, why: str, recovered: bool = False) -> None:
        (self._troubles.discard if recovered else self._troubles.add)(what)
        self._pipes.tell(Degraded(self._clock.now_ns(), what, why, recovered))


def transcribed(
    sound: Float32,
    recogniser: Recogniser,
    transcriber: Transcriber,
    now_s: Callable[[], float],
    language: str = "",
    hints: tuple[str, ...] = (),
    detector: Callable[[Float32], float] | None = None,
) -> Iterator[tuple[Speech, float]]:
    """Yield what is said in mono sound at 16 kHz, with the second at which it would have been told on stage.

    Decoding takes the time that it takes here (``now_s``); the sound does not wait for it, as on stage it does not.
    """
    detector = detector or VoiceDetector()
    work: tuple[Job, Hypothesis, int, float] | None = None
    end_s = len(sound) / RATE_HZ
    place, t_ns = 0, 0
    while place * CHUNK_S < end_s + 1.0 or transcriber.busy:
        chunk = sound[place * CHUNK : (place + 1) * CHUNK]
        chunk = np.pad(chunk, (0, CHUNK - len(chunk)))
        place += 1
        t_ns = round(place * CHUNK_S * NS)
        transcriber.hear(chunk, t_ns, detector(chunk))
        while True:
            if work is not None and work[2] > t_ns:
                break
            if work is not None:
                job, found, done_ns, took_s = work
                work = None
                for said in transcriber.done(job, found, took_s):
                    yield said, done_ns / NS
            next_job = transcriber.next_job(t_ns)
            if next_job is None:
                break
            began_s = now_s()
            found = recogniser.decode(next_job.sound, language, next_job.context, hints)
            took_s = now_s() - began_s
            work = next_job, found, t_ns + round(took_s * NS), took_s
