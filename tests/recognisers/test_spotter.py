import numpy as np
import pytest
from test_whisper import say  # noqa: F401 - a fixture

from vjserver.app.listen import transcriber_of
from vjserver.app.show import SpeechOptions
from vjserver.recognisers.spotter import WakeSpotter
from vjserver.recognisers.whisper import WhisperOptions, WhisperRecogniser

pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed: pip install 'vjserver[speech]'")


def test_the_wake_word_is_heard_at_the_begin_and_not_in_noise(say):  # noqa: F811
    spots = WakeSpotter("computer")
    assert spots(say("computer, next"))
    assert not spots(say("a small wooden boat on a lake"))
    assert not spots(say("the community next door"))
    assert not spots(np.zeros(32000, np.float32))
    assert not spots(np.random.default_rng(1).normal(0.0, 0.1, 32000).astype(np.float32))


def test_a_misheard_wake_word_is_mended_where_the_sound_says_so(say):  # noqa: F811
    one = transcriber_of(SpeechOptions(), WhisperRecogniser(WhisperOptions()))
    assert one._mends("Compare, next", say("computer, next")) == "computer next"
    assert one._mends("Compare, next", say("a small wooden boat on a lake")) == "Compare, next"
    assert one._mends("A red house", say("computer, next")) == "A red house"


def test_a_word_that_it_does_not_know_switches_it_off():
    assert not WakeSpotter("xqzvb")(np.zeros(32000, np.float32))
