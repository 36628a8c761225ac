import re

from vjserver.speech.subtitles import Subtitles, cues_of, stamp
from vjserver.types.events import Speech, SpokenWord

NS = 1_000_000_000


def said(number, text, begin_s, end_s, kind="final", words=(), wake=False):
    return Speech(round(end_s * NS), kind, number, text, "", "en", 0.9, round(begin_s * NS), words=words, wake=wake)


def place(t_ns):
    return t_ns / NS - 10.0  # the recording began at 10 s


def test_times_are_written_as_srt_writes_them():
    assert stamp(3661.2345) == "01:01:01,234"
    assert stamp(-1) == "00:00:00,000"


def test_a_line_stands_when_the_better_text_came_or_cannot_come_any_more():
    one = Subtitles(place)
    one.hear(said(1, "a smell wooden boat", 12, 14), 15 * NS)
    assert one.due(16 * NS) == ""
    one.hear(said(1, "A small wooden boat.", 12, 14, "revised"), 16 * NS)
    assert one.due(16 * NS) == "1\n00:00:02,000 --> 00:00:04,600\nA small wooden boat.\n\n"
    one.hear(said(2, "Another one.", 20, 21), 22 * NS)
    assert one.due(24 * NS) == ""
    assert one.due(25 * NS).startswith("2\n00:00:10,000 --> ")
    assert one.due(30 * NS) == ""


def test_order_is_that_of_speaking_and_the_end_writes_all():
    one = Subtitles(place)
    one.hear(said(2, "second", 14, 15, "revised"), 16 * NS)
    one.hear(said(1, "first", 12, 13), 16 * NS)
    assert one.due(16 * NS) == ""  # the first may still be heard better
    assert re.findall("first|second", one.due(16 * NS, ends=True)) == ["first", "second"]


def test_partials_commands_and_what_was_before_are_no_subtitles():
    one = Subtitles(place)
    one.hear(said(1, "a par", 12, 13, "partial"), 0)
    one.hear(said(2, "computer next", 12, 13, wake=True), 0)
    one.hear(said(3, "before it began", 3, 5), 0)
    one.hear(said(4, "", 12, 13), 0)
    assert one.due(99 * NS) == ""


def test_the_last_sentence_counts_though_it_comes_after_the_end_and_what_began_later_does_not():
    one = Subtitles(place)
    one.end(20 * NS)
    one.hear(said(1, "the last words", 18, 19.5), 21 * NS)
    one.hear(said(2, "backstage", 20.5, 22), 22 * NS)
    assert "the last words" in one.due(30 * NS)
    assert one.due(30 * NS, ends=True) == ""


def test_who_goes_on_with_a_file_counts_on():
    one = Subtitles(place, 7)
    one.hear(said(1, "more", 12, 13), 0)
    assert one.due(0, ends=True).startswith("8\n")


def test_cues_never_overlap():
    one = Subtitles(place)
    one.hear(said(1, "one voice", 12, 16, "revised"), 0)
    one.hear(said(2, "another voice", 13, 14, "revised"), 0)
    times = [
        sum(float(x.replace(",", ".")) * f for x, f in zip(t.split(":"), (3600, 60, 1), strict=True))
        for t in re.findall(r"[\d:,]{12}", one.due(0))
    ]
    assert times == sorted(times)
    assert len(times) == 4


def test_long_talk_is_cut_where_its_words_lie():
    words = tuple(SpokenWord(f"word{i}", i * 0.5, i * 0.5 + 0.4) for i in range(40))
    cues = cues_of(said(1, " ".join(w.text for w in words), 12, 32, words=words), place)
    assert len(cues) > 3
    assert all(len(line) <= 42 for cue in cues for line in cue.text.splitlines())
    assert all(cue.text.count("\n") <= 1 for cue in cues)
    first = int(cues[1].text.split()[0].removeprefix("word"))
    assert cues[1].begin_s == 2.0 + first * 0.5
    assert " ".join(cue.text.replace("\n", " ") for cue in cues).split() == [w.text for w in words]
