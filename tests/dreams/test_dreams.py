"""The journal: what is most telling, what is kept, found, taken away and brought back; and that nobody else sees it."""

import hashlib
import io
import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import wordfreq
from conftest import need_speech
from hypothesis import given
from hypothesis import strategies as st

from vjserver.documents import journal
from vjserver.keeping.cards import Version
from vjserver.keeping.dreams import Dream, Dreams
from vjserver.keeping.pictures import encoded
from vjserver.keeping.recordings import flac
from vjserver.private.telling import telling_of
from vjserver.show.state import Look
from vjserver.speech.salience import ranked, score_of, sentences_of
from vjserver.types.errors import ConfigError

REPORTS = Path(__file__).parents[2] / "bench/notebook/dreams.json"


def common(word):
    return {"a": 7.0, "the": 7.7, "i": 7.0, "to": 7.4, "went": 6.0, "work": 6.0, "was": 7.0, "um": 5.5,
            "think": 6.2, "yeah": 6.0}.get(word, 3.0)  # fmt: skip


# -- salience ------------------------------------------------------------------------------------------------------


def test_a_strange_sentence_tells_more_than_a_dull_one():
    text = "I went to work. A giant whale melted suddenly. The the the was."
    assert [one.place for one in ranked(text, common)] == [1, 2, 0]
    assert score_of("A whale", common) > score_of("Um, a whale, I think, yeah", common)
    assert score_of("...", common) == 0.0


def test_what_somebody_marked_who_had_not_seen_the_program_is_found():
    hits = marked = 0
    for row in json.loads(REPORTS.read_text(encoding="utf-8")):
        found = ranked(
            " ".join(row["sentences"]), lambda word, code=row["language"]: wordfreq.zipf_frequency(word, code)
        )
        hits += len({one.place for one in found[:3]} & set(row["telling"]))
        marked += len(row["telling"])
    assert hits / marked >= 0.75


@given(st.text(max_size=300))
def test_any_text_can_be_ranked(text):
    found = ranked(text, common)
    assert sorted(one.place for one in found) == list(range(len(sentences_of(text))))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


# -- what is kept --------------------------------------------------------------------------------------------------


@pytest.fixture
def dreams(tmp_path):
    made = Dreams(tmp_path / "dreams")
    yield made
    made.close()


def raw(dreams):
    return b"".join(path.read_bytes() for path in dreams.folder.rglob("*") if path.is_file())


def test_an_entry_is_kept_as_it_is(dreams):
    made = dreams.write(
        Dream(t_s=100.0, title=" The\nwhale ", text="A whale.\n\nIt sang.", mood="calm", lucidity=3, language="en",
              tags=("Water", "water", "whale")),
    )  # fmt: skip
    assert (made.title, made.text, made.tags) == ("The whale", "A whale.\n\nIt sang.", ("water", "whale"))
    assert dreams.dream(made.id) == dreams.dream(made.id[:5]) == made
    changed = dreams.write(Dream(**{**{f: getattr(made, f) for f in made.__slots__}, "text": "Another.", "tags": ()}))
    assert dreams.dreams() == [changed]


def test_entries_are_found_by_words_tag_and_time(dreams):
    for day, text, tags in (
        (1, "A whale in the café.", ("water",)),
        (2, "A train of glass.", ()),
        (3, "Teeth.", ("body",)),
    ):
        dreams.write(Dream(t_s=day * 86400.0, text=text, tags=tags))
    assert [one.text for one in dreams.dreams("cafe wha")] == ["A whale in the café."]
    assert [one.text for one in dreams.dreams(tag="BODY")] == ["Teeth."]
    assert [one.text for one in dreams.dreams(begin_s=1.5 * 86400)] == ["Teeth.", "A train of glass."]
    for odd in ('"', "* OR x", "NEAR(", "'; DROP TABLE dream", "\0"):
        dreams.dreams(odd)


def test_what_returns_in_three_dreams_is_a_sign(dreams):
    for text in ("The water rose.", "Waters everywhere", "water and a dog", "a dog"):
        dreams.write(Dream(text=text, tags=("night",)))
    signs = dreams.signs(
        lambda word, _language: {"waters": "water"}.get(word, word if word in ("water", "dog") else "")
    )
    assert signs == [("night", 4), ("water", 3)]


def test_what_is_deleted_is_nowhere(dreams):
    for i in range(20):
        made = dreams.write(Dream(text=f"zebra dream {i}", title=f"zebra {i}", tags=(f"zebra{i}",), mood="zebra"))
        dreams.write(Dream(id=made.id, text=f"another zebra {i} " + "x" * i))
    first = dreams.dreams()[0]
    dreams.delete(first.id)
    with pytest.raises(ConfigError, match="there is no dream"):
        dreams.dream(first.id)
    dreams.delete_all()
    assert dreams.dreams() == []
    assert b"zebra" not in raw(dreams)


@pytest.mark.parametrize(
    ("dream", "why"),
    [
        (Dream(text=" \n "), "this dream is empty"),
        (Dream(text="x" * 200_000), "at most 100000 signs"),
        (Dream(text="x", lucidity=9), "lucidity is 0 to 5: got 9"),
        (Dream(text="x", tags=("",)), "a tag has 1 to"),
        (Dream(text="x", tags=tuple(map(str, range(10_000)))), "at most 64 tags: got 10000"),
        (Dream(text="x", mood="y" * 99), "a mood has"),
    ],
)
def test_a_dream_that_makes_no_sense_is_told(dreams, dream, why):
    with pytest.raises(ConfigError, match=why):
        dreams.write(dream)
    assert dreams.dreams() == []


def test_what_is_taken_away_comes_back_equal(dreams, tmp_path):
    for i in range(5):
        dreams.write(Dream(t_s=1000.5 + i, text=f"Dream {i} — море\n<b>&", title=f"a/b\\{i}", tags=(f"t{i}", "a/b"),
                           mood="=1+1", lucidity=i, language="en"))  # fmt: skip
    assert journal.export(dreams, tmp_path / "out") == 5
    other = Dreams(tmp_path / "other")
    assert journal.take_in(other, tmp_path / "out") == 5
    assert other.dreams() == dreams.dreams()
    assert journal.take_in(other, tmp_path / "out") == 5, "again: over the same"
    assert other.dreams() == dreams.dreams()
    other.close()
    with pytest.raises(ConfigError, match="is there already"):
        journal.export(dreams, tmp_path / "out")


def illustrated(dreams):
    """Return a dream with a recording that is kept, and two pictures of one of its sentences."""
    made = dreams.record(flac(np.zeros(16000, np.float32)), 1.0, 1000.0, "en", keep=True)
    made = dreams.heard(made.id, "A zebra sang. It was morning.", "en", "A zebra sang")
    (card,) = dreams.draw(made.id, ["A zebra sang."], Look(generator="pattern"))
    for shade in (40, 200):
        picture = encoded(np.full((90, 160, 4), shade, np.uint8))
        dreams.pictures.put(card.id, Version(prompt="zebra", seed=shade, generator="pattern", licence="MIT"), picture)
    return dreams.dream(made.id)


def test_pictures_and_sound_are_taken_along_and_come_back_equal(dreams, tmp_path):
    made = illustrated(dreams)
    assert (made.title, made.hearing, made.keep, made.sound_s) == ("A zebra sang", "", True, 1.0)
    journal.export(dreams, tmp_path / "out")
    other = Dreams(tmp_path / "other")
    assert journal.take_in(other, tmp_path / "out") == 1
    (there,), card = other.dreams(), other.cards(made.id)[0]
    assert replace(there, sound="") == replace(made, sound="")
    assert other.media.read(there.sound) == dreams.media.read(made.sound)
    mine = [one for one in dreams.cards(made.id)[0].versions if one.making == "made"]
    assert [(one.seed, one.licence, one.prompt) for one in card.versions] == [
        (40, "MIT", "zebra"),
        (200, "MIT", "zebra"),
    ]
    for one, two in zip(mine, card.versions, strict=True):
        assert dreams.pictures.media.read(one.picture) == other.pictures.media.read(two.picture)
    assert card.chosen.seed == 200
    assert journal.take_in(other, tmp_path / "out") == 1, "again: nothing is there twice"
    assert len(other.cards(made.id)[0].versions) == 2
    other.close()
    pages = journal.write_pdf(tmp_path / "d.pdf", dreams, dreams.dreams(), "Dreams", 11.0, lambda _why: None)
    text = subprocess.run(["pdftotext", tmp_path / "d.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert (pages, "A zebra sang" in text) == (1, True)


def test_a_dream_that_is_deleted_takes_recording_and_pictures_along(dreams):
    made = illustrated(dreams)
    names = [path.name for path in dreams.folder.rglob("media/*")]
    assert len(names) == 5  # a recording, two pictures, each with a small one
    dreams.delete(made.id)
    assert [path.name for path in dreams.folder.rglob("media/*")] == []
    assert b"zebra" not in raw(dreams).lower()


def test_a_recording_is_an_entry_at_once_and_what_is_typed_meanwhile_stays(dreams):
    made = dreams.record(flac(np.zeros(1600, np.float32)), 0.1)
    assert dreams.unheard().id == made.id
    dreams.write(replace(made, text="I typed this.", mood="calm"))
    assert dreams.unheard().id == made.id
    dreams.not_heard(made.id, "nobody was understood")
    assert (dreams.unheard(), dreams.dream(made.id).why) == (None, "nobody was understood")
    dreams.hear_again(made.id)
    name = dreams.dream(made.id).sound
    assert dreams.media.read(name)
    whole = dreams.heard(made.id, "A whale sang.", "en", "A whale")
    assert (whole.text, whole.mood, whole.sound, whole.hearing) == ("I typed this.\n\nA whale sang.", "calm", "", "")
    assert dreams.media.read(name) == b""
    assert dreams.heard(made.id, "twice", "en", "x").text == whole.text
    with pytest.raises(ConfigError, match="no recording"):
        dreams.hear_again(made.id)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(pictures=[{"sentence": "x", "versions": [{"picture": "../../etc/passwd"}]}]), "is no name"),
        (lambda d: d.update(pictures=[{"sentence": "x", "versions": [{"picture": "gone.jpg"}]}]), "cannot be read"),
        (lambda d: d["dream"].update(sound="gone.flac"), "cannot be read"),
        (lambda d: d.update(version=2), "of version 2"),
        (lambda d: d.update(format="x"), "is needed"),
        (lambda d: d["dream"].update(text=""), "empty"),
        (lambda d: d["dream"].update(id="../../x"), "twelve hexadecimal digits"),
        (lambda d: d["dream"].update(tags=7), "is no dream"),
    ],
)
def test_a_folder_that_makes_no_sense_leaves_nothing(dreams, tmp_path, change, why):
    dreams.write(Dream(t_s=5.0, text="one"))
    dreams.write(Dream(t_s=6.0, text="two"))
    journal.export(dreams, tmp_path / "out")
    path = max((tmp_path / "out").iterdir())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    other = Dreams(tmp_path / "other")
    with pytest.raises(ConfigError, match=why):
        journal.take_in(other, tmp_path / "out")
    assert other.dreams() == []
    with pytest.raises(ConfigError, match="holds no dreams"):
        journal.take_in(other, tmp_path)
    other.close()


# -- from the shell ------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shell_of):
    return shell_of("dream")


def test_a_journal_from_the_shell_opens_no_socket(shell, tmp_path, monkeypatch):
    def forbidden(*_args, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    text = "I went to work as usual. A giant whale melted into the stairs. Then I woke up."
    code, told = shell("write", text, "--tag", "water", "--when", "2026-11-20 07:30", "--mood", "calm", "--lucidity", 2)
    assert code == 0
    number, title = told.split(maxsplit=1)
    assert title.strip() == "A giant whale melted into the stairs"
    monkeypatch.setattr("sys.stdin", io.StringIO("A whale again.\n"))
    assert shell("write", "--when", "2026-11-21")[0] == 0
    shell("write", "Whales, a whole sky of them.", "--when", "2026-11-21")
    shown = shell("show", number)[1]
    assert "calm, lucidity 2" in shown
    assert "  A giant whale melted into the stairs." in shown.partition("most telling:")[2]
    assert number in shell("list", "--search", "whale stairs")[1]
    assert "no dream matches" in shell("list", "--tag", "fire")[1]
    assert "3  whale" in shell("signs")[1]
    calendar = shell("calendar")[1].split()
    assert (calendar[:2], calendar[2][19:21]) == (["2026-11", "3"], "12")
    assert shell("export", "-o", tmp_path / "out")[1].endswith("3 dreams\n")
    assert "3 dreams are taken in" in shell("import", tmp_path / "out")[1]
    assert shell("delete", number)[0] == 0
    assert "2 dreams are deleted" in shell("delete", "--everything")[1]
    assert "no dream yet" in shell("list")[1]


def test_an_import_that_fails_puts_back_what_was_there(dreams, tmp_path):
    one, two = (dreams.write(Dream(t_s=5.0 + i, text=f"dream {i}")) for i in range(2))
    journal.export(dreams, tmp_path / "out")
    changed = dreams.write(replace(one, text="as it is now"))
    dreams.delete(two.id)
    path = next((tmp_path / "out").glob(f"*{two.id}.json"))
    data = json.loads(path.read_text())
    data["pictures"] = [{"sentence": " ", "versions": []}]
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="a sentence has"):
        journal.take_in(dreams, tmp_path / "out")
    assert dreams.dreams() == [changed]
    for value in (9e11, -1e15):
        with pytest.raises(ConfigError, match="a dream's time"):
            dreams.write(Dream(t_s=value, text="x"))
    early = dreams.write(Dream(t_s=-1.5e8, text="before 1970"))
    assert early in dreams.dreams()


def test_a_recording_at_which_the_program_ends_twice_waits_no_more(dreams):
    made = dreams.record(flac(np.zeros(1600, np.float32)), 0.1)
    assert dreams.unheard().id == dreams.unheard().id == made.id
    assert dreams.unheard() is None
    assert "ended the program twice" in dreams.dream(made.id).why
    assert dreams.hear_again(made.id).hearing == "wanted"
    assert dreams.unheard().id == made.id


def test_what_is_told_again_is_telling_once():
    text = "A giant whale melted. I went to work. A giant whale melted. Teeth fell into the sea."
    assert telling_of(text, "en", 2) == ["A giant whale melted.", "Teeth fell into the sea."]
    long = "the house was full of water, a white horse was sleeping on the stairs, the piano was burning all night"
    assert telling_of(long, "en", 1) == ["the piano was burning all night"], "a clause of what runs on"


def test_a_word_is_found_in_any_of_its_forms(dreams):
    made = dreams.write(Dream(text="A whale climbed the stair."))
    for words in ("whales", "stairs", "climbing", "wha"):
        assert dreams.dreams(words) == [made]


def test_a_dream_that_was_deleted_meanwhile_does_not_come_back(dreams):
    made = dreams.write(Dream(text="one"))
    dreams.delete(made.id)
    with pytest.raises(ConfigError, match="was deleted meanwhile"):
        dreams.write(made, made.text)
    assert dreams.dreams() == []


def test_two_who_want_pictures_at_once_make_one_board(dreams):
    made = dreams.write(Dream(text="A zebra sang."))
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: dreams.draw(made.id, ["A zebra sang."], Look(generator="pattern")), range(6)))
    assert len(dreams.pictures.boards()) == len(dreams.cards(made.id)) == 1


def test_minted_an_entry_can_be_checked(shell, tmp_path):
    number = shell("write", "A whale.")[1].split()[0]
    code, told = shell("mint", number, "-o", tmp_path / "mint", "--licence", "CC BY 4.0")
    assert code == 0
    row = json.loads((tmp_path / "mint/mint.json").read_text())
    assert row["sha256"] == hashlib.sha256((tmp_path / "mint/dream.json").read_bytes()).hexdigest() == told.split()[-1]
    assert (tmp_path / "mint/LICENCE.txt").read_text() == "CC BY 4.0\n"
    assert datetime.fromisoformat(row["minted"]).tzinfo is not None
    assert json.loads((tmp_path / "mint/dream.json").read_text())["dream"]["text"] == "A whale."


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("write", " "), "this dream is empty"),
        (("write", "x", "--when", "tomorrow"), "a day such as 2026-11-27"),
        (("show", "nope"), "there is no dream 'nope'"),
        (("delete",), "which dream?"),
        (("import", "nowhere"), "holds no dreams"),
        (("hear", "nowhere.wav"), "nowhere.wav"),
    ],
)
def test_a_line_that_makes_no_sense_is_told(shell, line, why):
    code, told = shell(*line)
    assert code == 1
    assert why in told


def test_a_recording_is_written_down(shell, tmp_path):
    need_speech()
    said = tmp_path / "said.wav"
    text = "I was standing in a house full of water. A white horse was sleeping on the stairs."
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(said)], check=True)
    code, told = shell("hear", said, "--language", "en")
    assert code == 0, told
    kept = shell("show", told.split()[0])[1].lower()
    assert "water" in kept
    assert "stairs" in kept
