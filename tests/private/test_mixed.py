"""Two languages in one sentence: doubtful stretches are looked up in the other one, and the likelier is kept."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vjserver.speech.mixed import doubtful, mixed
from vjserver.speech.words import Hypothesis, Word

ES = {"me": 6.8, "duele": 5.0, "el": 7.4, "compré": 4.5, "un": 7.0, "para": 6.9, "colgar": 3.5, "gordo": 4.0}
EN = {"elbow": 4.1, "hammer": 4.2, "my": 7.0, "hurts": 4.5, "the": 7.7, "me": 6.5}


class Words:
    def zipf(self, word, language):
        return (ES if language == "es" else EN).get(word, 0.0)

    def is_known(self, word, language):
        return self.zipf(word, language) > 0

    def lemma(self, word, language):
        return word

    def likely(self, text, language):
        return 0.0

    def is_borrowed(self, words, language):
        return False


def heard(*rows):
    words = tuple(Word(text, i * 0.4, i * 0.4 + 0.4, sure) for i, (text, sure) in enumerate(rows))
    return Hypothesis(" ".join(text for text, _ in rows), "", 0.7, 0.0, words)


NOTHING = Hypothesis("", "", 0.0)


def said(learn, own, alone=NOTHING, theirs=NOTHING):
    return mixed(learn, own, "es", "en", Words(), lambda _begin, _end, code: alone if code == "en" else theirs)


MINE = heard(("me", 0.9), ("duele", 0.9), ("el", 0.9), ("albo.", 0.3))


def test_what_is_doubtful_is_taken_from_ones_own_language_where_it_is_likelier_there():
    own = heard(("my", 0.4), ("hurts", 0.4), ("the", 0.4), ("Elbow.", 0.9))
    assert said(MINE, own) == "me duele el elbow"
    assert said(MINE, heard(("x", 0.1), ("y", 0.1), ("z", 0.1), ("elbow", 0.2))) == "me duele el albo.", "not likelier"


def test_what_is_sure_stays_however_sure_the_other_language_is():
    sure = heard(("me", 0.9), ("duele", 0.9), ("el", 0.9), ("gordo", 0.8))
    own = heard(("my", 0.99), ("hurts", 0.99), ("the", 0.99), ("elbow", 0.99))
    assert said(sure, own) == "me duele el gordo"


def test_a_translation_is_no_second_hearing():
    rows = [("my", 0.9), ("elbow", 0.9), ("hurts", 0.9), ("the", 0.9), ("hammer", 0.9), ("me", 0.9), ("elbow", 0.9)]
    own = Hypothesis("", "", 0.8, 0.0, tuple(Word(text, 1.2, 1.5, sure) for text, sure in rows))
    far = heard(("compré", 0.9), ("un", 0.9), ("gordo", 0.9), ("albo", 0.2))
    assert said(far, own) == "compré un gordo albo"


def test_the_stretch_alone_is_heard_again():
    again = Hypothesis("elbow", "en", 0.8, 0.0, (Word("elbow", 0.1, 0.5, 0.9),))
    assert said(MINE, NOTHING, again) == "me duele el elbow"
    assert said(MINE, NOTHING, again, Hypothesis("el codo", "es", 0.79)) == "me duele el albo.", "as likely"
    ghost = Hypothesis("Thank you.", "en", 0.5, 0.0, (Word("Thank", 0.1, 0.3, 0.9), Word("you.", 0.3, 0.5, 0.9)))
    assert said(MINE, NOTHING, ghost) == "me duele el albo."


def test_a_word_of_ones_own_that_was_understood_stays_as_it_is():
    row = heard(("compré", 0.9), ("un", 0.9), ("hammer", 0.3))
    assert said(row, heard(("x", 0.9), ("y", 0.9), ("elbow", 0.9))) == "compré un hammer"


@given(st.lists(st.tuples(st.text(max_size=8), st.floats(0, 1)), max_size=12))
def test_any_words_have_stretches_in_order(rows):
    spans = doubtful(heard(*rows).words, "es", Words())
    assert all(one.last <= two.first for one, two in pairwise(spans))
    said(heard(*rows), heard(*rows[::-1]))
