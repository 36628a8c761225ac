"""Places: what somebody types becomes seconds, or a sentence about what the song has."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.dsp.hindsight import Beats
from vjserver.dsp.structure import Part
from vjserver.films.places import Places, clock, rate_of, seconds_of
from vjserver.stages.offline.hearing import COLUMNS, KINDS, Happened, Hearing
from vjserver.stages.offline.listening import grids_of
from vjserver.types.errors import ConfigError

NS = 1_000_000_000
SECONDS = 40.0


def hearing(times=None, first_place=0, per_bar=4, happened=(), parts=(), seconds=SECONDS):
    times = [0.5 * i for i in range(80)] if times is None else list(times)
    places = [(first_place + i) % per_bar for i in range(len(times))]
    beats = Beats(times, places, [per_bar] * len(times), [1.0] * len(times))
    rows = sorted(happened)
    what = Happened(
        np.array([round(t * NS) for t, _ in rows], np.int64),
        np.array([KINDS.index(name) for _, name in rows], np.uint8),
        np.ones(len(rows), np.float32),
    )
    return Hearing(seconds, np.zeros((0, COLUMNS), np.float16), what, grids_of(beats), tuple(parts))


PARTS = [
    Part(0, 8, "A", 0.2),
    Part(8, 16, "B", 0.8),
    Part(16, 24, "A", 0.3),
    Part(24, SECONDS, "B", 0.9),
]
HAPPENED = [(8.0, "drop"), (24.0, "drop"), (16.0, "break"), (23.0, "groove"), (3.0, "kick")]


@pytest.fixture(scope="module")
def places():
    return Places(hearing(happened=HAPPENED, parts=PARTS))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5), ("0", 0), ("12.5 s", 12.5), ("12.5s", 12.5), ("0:02.5", 2.5), ("0:00:30", 30), (" 7 ", 7),
        ("bar 1", 0), ("bar 9", 16), ("bar 9.2", 16.5), ("bar 9.1", 16), ("bar 9.4", 17.5), ("beat 1", 0),
        ("beat 33", 16), ("part 3", 16), ("part B", 8), ("part b", 8), ("part B 2", 24), ("part A 2", 16),
        ("section B", 8), ("part", 0), ("drop", 8), ("drop 2", 24), ("break 1", 16), ("break", 16), ("groove", 23),
        ("end", SECONDS), ("END", SECONDS), ("bar  9", 16), ("40", 40),
    ],
)  # fmt: skip
def test_every_form_is_found(places, text, seconds):
    assert places.find(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bar 0", "no bar 0: it has 20"), ("bar 21", "no bar 21: it has 20"), ("beat 81", "no beat 81: it has 80"),
        ("beat 3.5", "no beat 3.5: it has 80"), ("bar 9.5", "bar 9 has 4 beats"), ("bar 9.0", "bar 9 has 4 beats"),
        ("part C", "parts of the song are: A B A B"), ("part B 3", "parts of the song are: A B A B"),
        ("part 5", "no part 5: it has 4"), ("drop 3", "no drop 3: it has 2"), ("drop x", "no drop x: it has 2"),
        ("break 2", "no break 2: it has 1"), ("bar", "which bar"), ("beat", "which beat"),
        ("verse 2", "places are: 12.5"), ("", "places are"), ("-3", "places are"), ("1e3", "places are"),
        ("40.1", "beyond the end of the song.*0:40.0"),
        ("1:00:00", "beyond the end"), ("bar x", "no bar x"), ("bar 1.2.3", "places are"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_what_is(places, text, told):
    with pytest.raises(ConfigError, match=told):
        places.find(text)


@pytest.mark.parametrize("text", ["part B 0", "part Z 0", "part A 00"])
def test_there_is_no_part_before_the_first_of_its_kind(places, text):
    with pytest.raises(ConfigError):
        places.find(text)


@pytest.mark.parametrize("text", ["bar 9 2", "drop 2 5", "part 3 2", "beat 3 3"])
def test_a_number_that_means_nothing_is_refused(places, text):
    with pytest.raises(ConfigError):
        places.find(text)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + ":00", "9" * 5000 + ":00:00", "bar " + "9" * 5000,
                                  "bar 9." + "9" * 5000, "part B " + "9" * 5000])  # fmt: skip
def test_a_number_beyond_all_songs_is_refused(places, text):
    with pytest.raises(ConfigError):
        places.find(text)


@given(st.one_of(st.text(max_size=20), st.from_regex(r"(bar|beat|part|drop|break|end|section)? ?[0-9:.A-c ]{0,12}")))
def test_any_text_is_a_time_of_the_song_or_refused(text):
    try:
        found = Places(hearing(happened=HAPPENED, parts=PARTS)).find(text)
    except ConfigError:
        return
    assert 0.0 <= found <= SECONDS


def test_a_song_of_which_nothing_is_known_says_so():
    empty = Places(hearing(times=[]))
    assert empty.find("3") == 3.0
    for text in ("bar 1", "beat 1", "drop", "part 1"):
        with pytest.raises(ConfigError, match="none was heard"):
            empty.find(text)
    with pytest.raises(ConfigError, match="parts of the song are: none"):
        empty.find("part A")


def test_the_first_bar_begins_with_the_first_downbeat():
    upbeat = Places(hearing(first_place=3))
    assert upbeat.find("bar 1") == pytest.approx(0.5)
    assert upbeat.find("bar 2.3") == pytest.approx(3.5)
    assert upbeat.find("beat 1") == 0.0
    assert (upbeat.bar_at(0.2), upbeat.bar_at(0.5), upbeat.bar_at(2.6)) == (0, 1, 2)


def test_bars_of_three_have_three_beats():
    waltz = Places(hearing(per_bar=3))
    assert waltz.find("bar 3.3") == pytest.approx(4.0)
    with pytest.raises(ConfigError, match="bar 3 has 3 beats"):
        waltz.find("bar 3.4")


def test_beats_told_beyond_the_end_of_the_song_are_no_places_of_it():
    places = Places(hearing(seconds=10.0))
    for text in ("bar 10", "beat 60"):
        with pytest.raises(ConfigError):
            places.find(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("30", Fraction(30)), ("29.97", Fraction(30000, 1001)), ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)), ("59.94", Fraction(60000, 1001)), ("119.88", Fraction(120000, 1001)),
        ("24000/1001", Fraction(24000, 1001)), (" 25 ", Fraction(25)), ("12.5", Fraction(25, 2)),
        ("240", Fraction(240)), ("1", Fraction(1)),
    ],
)  # fmt: skip
def test_rates_are_those_of_the_trade(text, rate):
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["0", "abc", "", "-30", "241", "0.5", "1/0", "nan", "inf", "30fps", "1/3",
                                  "29.970000000001", "9" * 5000])  # fmt: skip
def test_no_rate_is_refused(text):
    with pytest.raises(ConfigError, match="--fps"):
        rate_of(text)


def test_beats_go_by_evenly(places):
    assert places.beats_after(0.0, 8) == pytest.approx(4.0)
    assert places.beats_after(0.25, 1) == pytest.approx(0.75)
    assert places.beats_after(3.0, 0) == pytest.approx(3.0)
    assert places.beats_after(3.0, 0.5) == pytest.approx(3.25)
    assert places.beats_after(39.5, 4) == pytest.approx(41.5)
    assert Places(hearing(times=[])).beats_after(3.0, 4) == pytest.approx(5.0)


def test_beats_go_by_across_a_change_of_tempo():
    places = Places(hearing(times=[*(0.5 * i for i in range(9)), *(4.0 + 0.4 * i for i in range(1, 41))]))
    assert places.beats_after(3.0, 4) == pytest.approx(4.8)
    assert places.beats_after(3.75, 1) == pytest.approx(4.2)
    assert places.beats_after(4.0, 40) == pytest.approx(20.0)
    assert places.beats_after(4.0, 45) == pytest.approx(22.0)


@given(st.floats(0, 30), st.floats(0, 40), st.floats(0, 40))
def test_beats_after_beats_are_beats(begin, some, more):
    places = Places(hearing(times=np.cumsum(0.4 + 0.1 * np.sin(np.arange(70)))))
    once = places.beats_after(begin, some + more)
    assert places.beats_after(places.beats_after(begin, some), more) == pytest.approx(once, abs=1e-6)
    assert once >= begin - 1e-9


def test_beats_go_by_before_the_first_one_that_is_told():
    places = Places(hearing(times=[2.0 + 0.5 * i for i in range(40)]))
    assert places.beats_after(0.0, 0) == pytest.approx(0.0)
    assert places.beats_after(0.0, 1) == pytest.approx(0.5)
    assert places.beats_after(1.0, 4) == pytest.approx(3.0)


def test_bars_and_drops_nearest_to_a_time(places):
    assert places.nearest_bar(3.1) == pytest.approx(4.0)
    assert places.nearest("drop", 9.0, 2.0) == 8.0
    assert places.nearest("drop", 12.0, 2.0) is None
    assert Places(hearing(times=[])).nearest_bar(3.1) == 3.1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"), (62.5, "1:02.5"), (59.94, "0:59.9"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"),
        (3723.4, "1:02:03.4"),
    ],
)  # fmt: skip
def test_a_time_reads_as_people_write_it(seconds, text):
    assert clock(seconds) == text


@given(st.floats(0, 1e5))
def test_what_is_read_is_what_was_written(seconds):
    assert seconds_of(clock(seconds)) == pytest.approx(seconds, abs=0.0501)
