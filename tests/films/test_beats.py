"""Beats by hand: files that people have, and what is wrong with those that they have not."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.films.beats import LARGEST, read_beats
from vjserver.types.errors import ConfigError

TIMES = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
WALTZ = [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.fixture
def read(tmp_path):
    def read(text, name="beats.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_beats(path)

    return read


def audacity(places=WALTZ, times=TIMES):
    return "".join(f"{t:.6f}\t{t:.6f}\t{p + 1}\n" for t, p in zip(times, places, strict=True))


def comma(heading="time,beat\n"):
    return heading + "".join(f"{t},{p + 1}\n" for t, p in zip(TIMES, WALTZ, strict=True))


SHAPES = [
    {"beats": TIMES, "downbeats": [0.5, 2.0, 3.51]},
    {"beats": TIMES, "beat_positions": [p + 1 for p in WALTZ]},
    {"beats": [{"time": t, "position": p + 1} for t, p in zip(TIMES, WALTZ, strict=True)]},
    [{"time": t, "beat": p + 1} for t, p in zip(TIMES, WALTZ, strict=True)],
    [[t, p + 1] for t, p in zip(TIMES, WALTZ, strict=True)],
    {"beats": [[t, p + 1] for t, p in zip(TIMES, WALTZ, strict=True)]},
]
FILES = [
    ("a.txt", audacity()), ("b.csv", comma()), ("c.csv", comma("")), ("d.csv", comma("Time (s),Place\n")),
    *((f"{i}.json", json.dumps(shape)) for i, shape in enumerate(SHAPES)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), FILES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_shape_of_file_tells_the_same_beats(read, name, text, ends, mark):
    beats = read(mark + text.replace("\n", ends).encode(), name)
    assert list(beats.times_s) == pytest.approx(TIMES)
    assert list(beats.positions) == WALTZ
    assert list(beats.per_bar) == [3] * 8
    assert list(beats.confidence) == [1.0] * 8


def test_labels_of_a_range_of_frequencies_have_a_second_line(read):
    text = "".join(f"{t}\t{t}\t{p + 1}\n\\\t100.0\t2000.0\n" for t, p in zip(TIMES, WALTZ, strict=True))
    assert list(read(text).positions) == WALTZ


def test_remarks_and_empty_lines_are_passed_over(read):
    beats = read("# by hand\n\n" + comma("").replace("1.5,", "\n# here\n1.5,"), "b.csv")
    assert list(beats.times_s) == TIMES


@pytest.mark.parametrize("before", ["# by hand\n", "\n"])
def test_a_heading_may_come_after_a_remark(read, before):
    assert list(read(before + comma(), "b.csv").times_s) == TIMES


@pytest.mark.parametrize("one", ["1", "1.1", "downbeat", "Bar"])
def test_a_bar_begins_where_a_label_says_so(read, one):
    text = "".join(f"{t}\t{t}\t{one if i % 2 == 0 else 'x'}\n" for i, t in enumerate(TIMES))
    beats = read(text)
    assert list(beats.positions) == [0, 1] * 4
    assert set(beats.per_bar) == {2}


def test_without_bars_there_are_four_beats_to_each(read):
    for name, text in (("a.csv", "\n".join(map(str, TIMES))), ("a.json", json.dumps(TIMES)),
                       ("b.json", json.dumps({"beats": TIMES}))):  # fmt: skip
        beats = read(text, name)
        assert list(beats.positions) == [0, 1, 2, 3] * 2
        assert set(beats.per_bar) == {4}


def test_an_upbeat_counts_towards_the_first_bar(read):
    beats = read(audacity([2, 3, 0, 1, 2, 3, 0, 1]))
    assert list(beats.positions) == [2, 3, 0, 1, 2, 3, 0, 1]
    assert list(beats.per_bar) == [4] * 8


def test_bars_may_change_their_length(read):
    places = [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 0]
    beats = read(audacity(places, [0.5 * i for i in range(12)]))
    assert list(beats.positions) == places
    assert list(beats.per_bar) == [3] * 3 + [4] * 4 + [4] * 4 + [4]


def test_beats_need_no_order(read):
    rows = audacity().splitlines()
    beats = read("\n".join([*rows[4:], *rows[:4]]))
    assert list(beats.times_s) == pytest.approx(TIMES)
    assert list(beats.positions) == WALTZ


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "time,beat\n0.5,1\nx,2\n", r"a\.csv:3: a time in seconds is needed: got 'x'"),
        ("a.csv", "0.5\n-1\n", r"a\.csv:2: a time is in 0\.\.1000000 s: got -1"),
        ("a.csv", "0.5\n1\nnan\n", r"a\.csv:3: a time is in"), ("a.csv", "0.5\n1e9\n", r"a\.csv:2: a time is in"),
        ("a.txt", "0.5\t0.5\t1\n\n# x\n1,5\t1,5\t2\n", r"a\.txt:4: a time in seconds"),
        ("a.csv", "0.5\n1.0\n1.0\n", r"a\.csv: beat 3 is at 1 s, and the one before it at 1 s"),
        ("a.csv", "1.0\n0.5\n1.04\n", r"a\.csv: beat 3 is at 1\.04 s"),
        ("a.csv", "0.5\n", "at least two beats are needed: got 1"),
        ("a.csv", "", "at least two beats are needed: got 0"),
        ("a.json", "[]", "at least two beats"), ("a.json", "[0.5]", "at least two beats"),
        ("a.json", "{}", "beats are Audacity"), ("a.json", "[0.5", "beats are Audacity"), ("a.json", "7", "beats are"),
        ("a.json", "null", "beats are"), ("a.json", '{"beats": null}', "beats are"),
        ("a.json", '{"beats": 7}', "beats are"),
        ("a.json", "[-1, 2]", "a time is in 0"), ("a.json", "[NaN, 2]", "a time is in 0"),
        ("a.json", "[0, 1e7]", "a time is in 0"), ("a.json", '[{"x": 1}, {"x": 2}]', "beats are"),
        ("a.json", "[[0.5], [1]]", "beats are"), ("a.json", "[" * 100000, "beats are"),
        ("a.json", '["a", "b"]', "beats are"), ("a.json", '{"beats": [0, 1], "downbeats": 3}', "beats are"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(read, name, text, told):
    with pytest.raises(ConfigError, match=told):
        read(text, name)


@pytest.mark.parametrize(
    "text",
    ['{"beats": [0, 1], "beat_positions": 5}', '{"beats": [0, 1], "beat_positions": null}', '[{"time": 0}, 3]',
     '[{"time": 0}, null]', f"[0, 1{'0' * 400}]", f"[0, 1{'0' * 5000}]", '[[0, 1], {"time": 1}]'],
)  # fmt: skip
def test_json_of_odd_shapes_is_refused_or_read_without_a_fault(read, text):
    with suppress(ConfigError):
        assert len(read(text, "a.json").times_s) == 2


def test_what_is_no_text_or_not_there_is_refused(read, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: it is no text"):
        read("0.5\t0.5\t1\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_beats(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_beats(tmp_path)


def test_what_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ConfigError, match="too large"):
        read_beats(path)


def test_a_cell_that_never_ends_is_refused(read):
    with pytest.raises(ConfigError, match=r"a\.csv"):
        read('0.5\n"' + "x" * 200_000, "a.csv")


@given(st.binary(max_size=80), st.sampled_from(["a.txt", "a.csv", "a.json"]))
def test_any_bytes_are_beats_or_refused(tmp_path_factory, data, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    try:
        beats = read_beats(path)
    except ConfigError:
        return
    assert len(beats.times_s) == len(beats.positions) == len(beats.per_bar) == len(beats.confidence) >= 2


KEYS = ["beats", "downbeats", "beat_positions", "time", "position"]
JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["beats", "downbeats", "beat_positions", "time", "position"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@given(JSONS)
def test_any_json_is_beats_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(data))
    with suppress(ConfigError):
        read_beats(path)


@given(st.lists(st.integers(2, 7), min_size=2, max_size=8), st.integers(0, 6))
def test_bars_of_any_lengths_come_back_as_they_were_written(tmp_path_factory, lengths, upbeat):
    upbeat = min(upbeat, lengths[0] - 1)
    places = [*range(lengths[0] - upbeat, lengths[0]), *(i for length in lengths for i in range(length)), 0]
    path = tmp_path_factory.getbasetemp() / "bars.txt"
    path.write_text(audacity(places, [0.5 * i for i in range(len(places))]))
    beats = read_beats(path)
    assert list(beats.positions)[upbeat:] == places[upbeat:]
    whole = [length for length in lengths for _ in range(length)]
    assert list(beats.per_bar)[upbeat : upbeat + len(whole)] == whole
    assert all(0 <= place < length for place, length in zip(beats.positions, beats.per_bar, strict=True))
