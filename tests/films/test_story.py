"""Stories, scripts and lyrics become scenes spread over a song."""

from contextlib import suppress
from itertools import pairwise

import pytest
from test_storyboard import beat_song

from vjserver.dsp.structure import Part
from vjserver.films.lyrics import Line, Lyrics, board_of_lyrics, read_lyrics
from vjserver.films.places import Places
from vjserver.films.story import board_of, read_story
from vjserver.films.storyboard import Storyboard
from vjserver.runtime.installed import installed
from vjserver.types.errors import ConfigError

STORY = """The harbour slept under a red moon. Mara, an old fisherwoman in a yellow coat, stood at the end of the pier.
She lit a lamp and waited.

"Nobody comes back from there," said Jonas. He pulled his boat onto the stones. The sea was black and very still.

Then the storm came. Waves broke over the wall, and the lamp went out. Mara ran into the water.
"""
SCRIPT = """Title: _**Glass City**_
Author: Somebody

EXT. HARBOUR - NIGHT

A red moon. MARA (70, in a yellow coat) stands on the pier.

MARA
(softly)
Nobody comes back.

She lights a lamp. /* cut
this */ JONAS, a young sailor, pulls his boat in. [[a note: nicer]]

CUT TO:

.ROOFTOP GARDEN

# Act two
= what it is about

They run between the flowers.

> THE END <
"""


def song_with_parts():
    from dataclasses import replace

    song = beat_song(64.0)
    return replace(
        song,
        parts=(
            Part(0.0, 16.0, "A", 0.3),
            Part(16.0, 48.0, "B", 0.9),
            Part(48.0, 64.0, "A", 0.4),
        ),
    )


def test_a_story_is_spread_over_all_parts_and_bars():
    board, left = board_of(read_story(STORY, False), Places(song_with_parts()))
    assert left == []
    assert [scene["at"] for scene in board["scenes"]] == [f"bar {n}" for n in (1, 3, 6, 9, 13, 17, 21, 25, 29)]
    Storyboard.model_validate(board, context={"registry": installed()})
    prompts = " / ".join(prompt for scene in board["scenes"] for prompt in scene["prompts"])
    assert "red moon" in prompts
    assert "Mara ran into the water" in prompts


def test_who_is_meant_is_carried_and_how_they_look_becomes_the_cast():
    story = read_story(STORY, False)
    said = {p.text: p.who for p in story.passages}
    assert said["She lit a lamp and waited."] == ("Mara",)
    assert said["He pulled his boat onto the stones."] == ("Jonas",)
    assert said["The sea was black and very still."] == ()
    assert story.cast == {"Mara": "an old fisherwoman in a yellow coat"}


def test_few_sentences_last_longer_and_many_are_chosen_from():
    places = Places(song_with_parts())
    two, left = board_of(read_story("Rain fell. Everything was silent then.", False), places)
    assert left == []
    assert len(two["scenes"]) == 2
    many, left = board_of(read_story("A ship burned. " * 3 + "He said so. It was well. " * 60, False), places)
    assert len(many["scenes"]) == 8
    assert len(left) == 123 - 8
    assert {"He said so.", "It was well."} >= set(left[3:])
    one, _ = board_of(read_story("Only one sentence here.", False), places)
    assert [scene["at"] for scene in one["scenes"]] == ["bar 1"]


def test_every_sentence_has_a_scene_where_each_can_last_two_bars():
    places = Places(song_with_parts())
    told = [f"The {name} burned." for name in ("ship", "house", "tree", "bridge", "tower", "hill", "sea", "sky")]
    for count, scenes in ((9, 9), (16, 16), (17, 8)):
        board, left = board_of(read_story(" ".join((told * 3)[:count]), False), places)
        assert (len(board["scenes"]), len(left)) == (scenes, count - scenes)
        begins = [int(scene["at"].split()[1]) for scene in board["scenes"]]
        assert min(b - a for a, b in pairwise([*begins, 33])) >= 2


def test_a_script_tells_where_and_who_and_what_is_said_is_left_out():
    story = read_story(SCRIPT, True)
    assert story.title == "Glass City"
    rows = [(p.text, p.place, p.who, p.begins_scene) for p in story.passages]
    assert rows[0] == ("A red moon.", "harbour, night", (), True)
    assert rows[1][2] == ("Mara",)
    assert ("She lights a lamp.", "harbour, night", ("Mara",), False) in rows
    assert any("pulls his boat in" in text and who == ("Jonas",) for text, _, who, _ in rows)
    assert rows[-1][:2] == ("They run between the flowers.", "rooftop garden")
    assert not any("Nobody comes back" in text or "nicer" in text or "Act two" in text for text, *_ in rows)
    assert story.cast["Mara"] == "70, in a yellow coat"
    assert story.cast["Jonas"] == "a young sailor"


@pytest.mark.parametrize("text", ["", "   \n\n ", "One", "!!! ???", "Title: x\n\nMARA\nHello there.\n"])
def test_a_text_without_a_sentence_is_told(text):
    with pytest.raises(ConfigError, match="no sentence"):
        read_story(text, text.startswith("Title"))


def test_other_alphabets_are_read():
    assert len(read_story("Красная луна над гаванью. Мара стоит у воды.", False).passages) == 2


def test_lyrics_have_their_times_an_offset_and_several_stamps():
    rows = read_lyrics(
        "\ufeff[ar:x]\n[offset:+500]\n[00:12.50]First line\n[00:20.5][01:00.50]Chorus <00:21.0>here\n[00:30]\n"
    )
    assert rows.lines == (
        Line(12.0, None, "First line"),
        Line(20.0, None, "Chorus here"),
        Line(29.5, None, ""),
        Line(60.0, None, "Chorus here"),
    )
    assert rows.title == ""
    assert read_lyrics("[ti: Night Song ]\n[00:01.00]a\n[00:02.00]\u266a\n").title == "Night Song"
    with pytest.raises(ConfigError, match="line 1: a time is"):
        read_lyrics("[1x:3] words")
    with pytest.raises(ConfigError, match="no line with a time"):
        read_lyrics("just words")


def test_subtitles_are_read_with_and_without_empty_lines():
    text = "1\r\n00:00:01,000 --> 00:00:02,500 X1:100\r\n<i>Hello</i> {\\an8}there\r\n2\r\n"
    text += "00:00:03.5 --> 00:00:05,000\r\n42\r\n"
    assert read_lyrics(text).lines == (Line(1.0, 2.5, "Hello there"), Line(3.5, 5.0, "42"))
    with pytest.raises(ConfigError, match="line 2"):
        read_lyrics("1\n00:00 --> soon\nwords")


def test_a_scene_for_each_line_and_short_ones_together():
    rows = [(5.0, None, "one"), (5.8, None, "two"), (9.0, None, "three"), (30.0, None, ""), (500.0, None, "never")]
    lyrics = Lyrics("Numbers", tuple(Line(*row) for row in rows))
    board = board_of_lyrics(lyrics, Places(beat_song(60.0)))
    assert board["title"] == "Numbers"
    assert [scene["at"] for scene in board["scenes"]] == ["0", "5.000", "9.000"]
    assert board["scenes"][1]["prompts"] == ["one, two"]
    Storyboard.model_validate(board, context={"registry": installed()})
    with pytest.raises(ConfigError, match="behind the end"):
        board_of_lyrics(Lyrics("", (Line(500.0, None, "never"),)), Places(beat_song(60.0)))


def test_words_are_titles_while_they_are_sung():
    text = "[00:00.50]one\n[00:01.00]two\n[00:09.00]three\n[00:30.00]\u266a \u266a\n[00:50.00]four"
    board = board_of_lyrics(read_lyrics(text), Places(beat_song(60.0)), titles=True)
    Storyboard.model_validate(board, context={"registry": installed()})
    assert [scene["prompts"] for scene in board["scenes"]] == [["one, two"], ["three"], ["four"]]
    titles = [(scene["at"], [(t["text"], t["at"], t["lasts"]) for t in scene["titles"]]) for scene in board["scenes"]]
    assert titles == [
        ("0.000", [("one", 0.5, 0.5), ("two", 1.0, 8.0)]),
        ("9.000", [("three", 0.0, 21.0)]),
        ("50.000", [("four", 0.0, 10.0)]),
    ]
    assert "titles" not in board_of_lyrics(read_lyrics(text), Places(beat_song(60.0)))["scenes"][0]


@pytest.mark.parametrize(
    ("text", "fountain"),
    [
        ("Title: x\n" + " a: b\n" * 60 + "x\nHe walks away.\n", True),
        ("\n\n".join(f"{chr(65 + i % 26)}{chr(65 + i // 26 % 26)}XX runs down the road." for i in range(3000)), True),
        ("a" * 200_000, False),
        ('"' * 5000 + "He said so.", False),
    ],
)  # fmt: skip
def test_odd_texts_are_read_in_no_time(text, fountain):
    with suppress(ConfigError):
        read_story(text, fountain)


def test_sentences_of_other_scripts_end():
    assert len(read_story("红月升起 在港口 上空。 玛拉 站在 码头。 海 是 黑色的！", False).passages) == 3


def test_numbers_beyond_all_times_are_told():
    for text in ("[offset:" + "9" * 400 + "]\n[00:01.00]a", "[" + "9" * 5000 + ":00.00] a"):
        with suppress(ConfigError):
            read_lyrics(text)


def test_a_long_word_is_cut():
    board = board_of_lyrics(Lyrics("", (Line(1.0, None, "x" * 500),)), Places(beat_song(60.0)))
    Storyboard.model_validate(board, context={"registry": installed()})
