import numpy as np
import pytest

from vjserver.speech.mel import filters, log_mel
from vjserver.speech.segmenter import CHUNK_S, Segmenter, SegmenterOptions


def run(segmenter, likely):
    """Return at which chunk what happened."""
    return [(i, what) for i, value in enumerate(likely) if (what := segmenter.hear(value))]


def test_speech_begins_with_two_hits_of_three_and_ends_after_a_pause():
    one = Segmenter()
    likely = [0.0] * 5 + [0.9] + [0.1] + [0.9] * 20 + [0.0] * 30
    assert run(one, likely) == [(7, "begin"), (27 + 14, "end")]
    assert not one.speaking


def test_one_click_is_no_speech():
    assert run(Segmenter(), [0.0, 0.9, 0.0, 0.0, 0.9, 0.0, 0.0]) == []


def test_more_is_asked_while_the_music_has_a_voice():
    one = Segmenter()
    one.raised = True
    assert run(one, [0.7] * 50) == []
    assert run(one, [0.95] * 3) == [(1, "begin")]


def test_a_long_talk_ends_with_half_the_pause_and_is_cut_where_it_was_least_like_speech():
    one = Segmenter(SegmenterOptions(long_s=3.0, longest_s=6.0))
    likely = [0.9] * 200
    likely[170] = 0.5
    rows = run(one, likely[: round(6.0 / CHUNK_S) + 2])
    assert [what for _, what in rows] == ["begin", "cut"]
    assert rows[1][0] - one.least_like_speech() == 170 - 1
    two = Segmenter(SegmenterOptions(long_s=3.0))
    assert run(two, [0.9] * 120 + [0.0] * 8)[-1] == (127, "end")


def test_one_that_was_ended_by_hand_begins_anew():
    one = Segmenter()
    run(one, [0.9] * 5)
    one.stop()
    assert not one.speaking
    assert run(one, [0.9] * 5) == [(1, "begin")]


def test_the_spectrogram_is_whisper_s():
    """Held against transformers' own, which is OpenAI's."""
    extractor = pytest.importorskip("transformers").WhisperFeatureExtractor()
    assert np.abs(filters(80) - extractor.mel_filters.T).max() < 1e-6
    sound = np.random.default_rng(1).normal(0.0, 0.1, 16000 * 30).astype(np.float32)
    sound[16000:32000] = 0.0
    theirs = extractor(sound, sampling_rate=16000, return_tensors="np").input_features[0]
    ours = log_mel(sound)
    assert ours.shape == theirs.shape == (80, 3000)
    assert np.abs(ours - theirs).max() < 2e-3
    assert log_mel(np.zeros(10, np.float32)).shape == (80, 5)
