"""The transcriber with a recogniser that is a table: every sentence by the millisecond."""

import itertools

import numpy as np
import pytest

from vjserver.speech.segmenter import CHUNK, CHUNK_S, Segmenter
from vjserver.speech.transcriber import MOST_S, MOST_WAITING, NS, REVISE_WITHIN_S, Transcriber
from vjserver.speech.words import Hypothesis, Word

VOICE, SILENCE = np.full(CHUNK, 0.1, np.float32), np.zeros(CHUNK, np.float32)


class Room:
    """A transcriber, its clock, and somebody who decodes in no time, or in ``takes_s``."""

    def __init__(self, **options):
        self.one = Transcriber(lambda text, _language: text.lower().rstrip("."), **options)
        self.t_ns = 0
        self.told = []
        self.jobs = []
        self.answer = lambda job: Hypothesis("A small wooden boat.", "en", 0.9)

    def hear(self, seconds, likely=0.9, decode=True):
        for _ in range(round(seconds / CHUNK_S)):
            self.t_ns += round(CHUNK_S * NS)
            self.one.hear(VOICE if likely > 0.5 else SILENCE, self.t_ns, likely)
            if decode:
                self.decode()

    def decode(self, takes_s=0.01):
        while (job := self.one.next_job(self.t_ns)) is not None:
            self.jobs.append((job.kind, job.number, len(job.sound) / 16000))
            self.told += self.one.done(job, self.answer(job), takes_s)

    def kinds(self):
        return [(said.kind, said.number) for said in self.told]


def test_a_sentence_is_told_while_it_is_said_at_its_end_and_once_more():
    room = Room()
    room.hear(1.0, 0.0)
    room.hear(2.5)
    room.hear(1.0, 0.0)
    assert room.kinds()[0] == ("partial", 1)
    assert room.kinds()[-2:] == [("final", 1), ("revised", 1)]
    final = room.told[-2]
    assert final.text == "A small wooden boat."
    assert final.phrase == "a small wooden boat"
    assert final.t_ns == pytest.approx(3.5 * NS, abs=0.1 * NS)  # when the voice ended, not the pause
    assert 0.35 < 1.0 - final.begin_ns / NS < 0.5  # the pre-roll


def test_a_partial_s_phrase_is_of_agreed_words_and_comes_late():
    room = Room()
    texts = iter(["a red", "a red house", "a red house on", "a red house on a hill", "a red house on a hill"] * 3)
    room.answer = lambda _job: Hypothesis(next(texts), "en", 0.9)
    room.hear(6.0)
    partials = [said for said in room.told if said.kind == "partial"]
    assert partials[0].agreed == ""
    assert all(said.phrase == "" for said in partials if said.t_ns - said.begin_ns < 4 * NS)
    assert all(said.phrase == said.agreed for said in partials if said.t_ns - said.begin_ns >= 4 * NS)


def test_nothing_is_told_of_what_was_made_up_but_what_was_shown_is_taken_back():
    room = Room()
    room.answer = lambda _job: Hypothesis("[Music]", "en", 0.9)
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert room.told == []
    room.answer = lambda job: Hypothesis("a cat" if job.kind == "partial" else "", "en", 0.9)
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert room.told[-1].kind == "final"
    assert room.told[-1].text == room.told[-1].phrase == ""


def test_a_breath_is_no_utterance():
    room = Room()
    room.hear(2 * CHUNK_S)
    room.hear(1.0, 0.0)
    assert room.jobs == []


def test_the_pre_roll_does_not_reach_into_the_sentence_before():
    room = Room()
    room.hear(1.0)
    room.hear(0.48, 0.0)
    room.hear(1.0)
    room.hear(1.0, 0.0)
    finals = [said for said in room.told if said.kind == "final"]
    assert len(finals) == 2
    assert finals[1].begin_ns >= finals[0].t_ns


def test_a_monologue_is_cut_and_no_sound_is_lost():
    room = Room()
    room.hear(60.0)
    room.hear(1.0, 0.0)
    seconds = [row[2] for row in room.jobs if row[0] == "final"]
    assert max(seconds) <= MOST_S
    assert sum(seconds) == pytest.approx(60.0 + 0.45, abs=0.4)
    finals = [said for said in room.told if said.kind == "final"]
    assert [said.number for said in finals] == sorted({said.number for said in finals})
    for one, after in itertools.pairwise(finals):
        assert after.begin_ns >= one.begin_ns + 20 * NS


def test_who_is_slow_gets_finals_first_and_drops_what_is_too_late():
    room = Room()
    for _ in range(3):
        room.hear(2.0, decode=False)
        room.hear(1.0, 0.0, decode=False)
    assert room.one.lag_s(room.t_ns) > 5.0
    room.t_ns += round(REVISE_WITHIN_S * NS)
    room.decode()
    assert [kind for kind, _, _ in room.jobs] == ["final"] * 3  # no partial, and it is too late to listen again
    assert room.one.lag_s(room.t_ns) == 0.0


def test_more_than_28_seconds_that_wait_are_left_out_oldest_first():
    room = Room()
    for _ in range(12):
        room.hear(4.0, decode=False)
        room.hear(1.0, 0.0, decode=False)
    assert room.one.left_out > 0
    room.decode()
    finals = [number for kind, number, _ in room.jobs if kind == "final"]
    assert finals == list(range(12 - len(finals) + 1, 13))
    assert sum(seconds for kind, _, seconds in room.jobs if kind == "final") < MOST_S + 6.0


def test_push_to_talk_takes_all_of_it_and_ends_at_once():
    room = Room()
    room.hear(1.0, 0.0)
    room.one.hold(True, room.t_ns)
    room.hear(1.0)
    room.hear(1.0, 0.0)  # a pause ends nothing while the button is held
    room.hear(1.0)
    room.one.hold(False, room.t_ns)
    room.decode()
    assert room.kinds()[-2:] == [("final", 1), ("revised", 1)]
    assert next(row[2] for row in room.jobs if row[0] == "final") > 3.0


def test_ten_talkers_are_heard_in_the_order_in_which_they_ended_each_by_name():
    room = Room()
    for i in range(10):
        for _ in range(40):
            room.t_ns += round(CHUNK_S * NS)
            room.one.talk(f"guest {i}", VOICE, room.t_ns, 0.9)
    for i in range(10):
        room.one.talked(f"guest {i}")
    room.decode()
    finals = [said.talker for said in room.told if said.kind == "final"]
    assert finals == [f"guest {i}" for i in range(10)]


def test_a_talker_who_holds_for_ever_is_kept_for_28_seconds_and_many_do_not_pile_up():
    room = Room()
    for _ in range(round(60 / CHUNK_S)):
        room.one.talk("guest 1", VOICE, room.t_ns, 0.9)
    room.one.talked("guest 1")
    room.decode()
    assert room.jobs[-2][2] <= MOST_S + CHUNK_S
    for i in range(MOST_WAITING + 5):
        for _ in range(20):
            room.one.talk(f"g{i}", VOICE, room.t_ns, 0.9)
        room.one.talked(f"g{i}")
    assert room.one.left_out == 5


def test_a_phone_that_falls_silent_without_a_word_ends_and_the_rest_goes_on():
    room = Room()
    for _ in range(40):
        room.t_ns += round(CHUNK_S * NS)
        room.one.talk("guest 1", VOICE, room.t_ns, 0.9, room.t_ns)
    room.one.tick(room.t_ns + NS)
    assert room.one.talkers == {"guest 1"}
    room.one.tick(room.t_ns + 3 * NS)
    assert room.one.talkers == set()
    room.decode()
    assert ("final", 1) in room.kinds()
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert room.kinds()[-1][0] == "revised"


def test_who_said_nothing_into_the_page_or_was_left_out_gets_an_answer():
    room = Room()
    room.one.talk("guest 1", SILENCE, room.t_ns, 0.0)
    room.one.talked("guest 1")
    room.decode()
    assert [(said.kind, said.text, said.talker) for said in room.told] == [("final", "", "guest 1")]
    for i in range(MOST_WAITING + 2):
        room.one.talk(f"g{i}", VOICE, room.t_ns, 0.9)
        room.one.talked(f"g{i}")
    assert [said.talker for said in room.one.lost()] == ["g0", "g1"]
    assert room.one.lost() == []


def test_what_is_being_decoded_is_not_left_out_under_the_decoder():
    room = Room()
    room.hear(20.0, decode=False)
    room.hear(1.0, 0.0, decode=False)
    job = room.one.next_job(room.t_ns)
    for _ in range(4):
        room.hear(10.0, decode=False)
        room.hear(1.0, 0.0, decode=False)
    assert room.one.left_out > 0
    assert room.one.done(job, Hypothesis("a small wooden boat", "en", 0.9), 0.1)[0].number == job.number


def test_numbers_go_on_where_another_left_off():
    room = Room(first=1000)
    room.hear(2.0)
    assert room.told[0].number == 1000


def test_nothing_grows_in_hours():
    room = Room()
    for _ in range(600):
        room.hear(2.0)
        room.hear(0.6, 0.0)
        room.told.clear()
        room.jobs.clear()
    sizes = [len(v) for v in vars(room.one).values() if hasattr(v, "__len__")]
    assert max(sizes) < 40


def test_words_are_cleaned_before_they_are_told_and_have_times():
    masked = lambda text: (text.replace("rude", "***"), "rude" in text)  # noqa: E731
    room = Room(clean=masked)
    words = (Word("a", 0.1, 0.3), Word("rude", 0.6, 0.9), Word("boat", 1.0, 1.4))
    room.answer = lambda _job: Hypothesis("a rude boat", "en", 0.9, words=words)
    room.hear(1.0, 0.0)
    room.hear(2.0)
    room.hear(1.0, 0.0)
    final = next(said for said in room.told if said.kind == "final")
    assert final.text == "a *** boat"
    assert final.phrase == ""
    assert [word.text for word in final.words] == ["a", "***", "boat"]
    onset_s = 1.0 - final.begin_ns / NS
    assert final.words[0].begin_s >= onset_s - 0.1  # no word begins in the pre-roll
    assert all(said.phrase == "" for said in room.told)


def test_what_begins_with_the_wake_word_makes_no_picture():
    room = Room(wakes=lambda text: text.startswith("computer"))
    room.answer = lambda _job: Hypothesis("computer next", "en", 0.9)
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert all(said.wake and not said.phrase for said in room.told)


def test_a_job_that_failed_is_gone_and_the_next_is_taken():
    room = Room()
    room.hear(2.0, decode=False)
    room.hear(1.0, 0.0, decode=False)
    job = room.one.next_job(room.t_ns)
    assert room.one.next_job(room.t_ns) is None  # one at a time
    room.one.failed(job)
    assert room.one.next_job(room.t_ns) is None
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert [kind for kind, _ in room.kinds()][-2:] == ["final", "revised"]


def test_what_is_switched_off_in_mid_sentence_ends_it():
    room = Room()
    room.hear(2.0, decode=False)
    room.one.hush()
    assert not room.one.speaking
    room.decode()
    assert ("final", 1) in room.kinds()


def test_a_recogniser_that_hears_no_more_with_time_is_not_asked_twice():
    room = Room(revises=False, segmenter=Segmenter())
    room.hear(2.0)
    room.hear(1.0, 0.0)
    assert room.kinds()[-1] == ("final", 1)
