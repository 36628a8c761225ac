"""The notebook: which words are noted, what is kept of them, and what other programs take in."""

import base64
import csv
import gzip
import json
import time
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.documents.decks import inert, write_anki, write_csv
from vjserver.keeping.cards import Picture
from vjserver.keeping.notebook import Notebook
from vjserver.speech.switches import switches_of, tokens_of
from vjserver.types.errors import ConfigError

pytest.importorskip("simplemma", reason="simplemma is not installed: pip install 'vjserver[notebook]'")
from bench.switches import false_notes, rows_of, scores
from vjserver.recognisers.lexicon import Glosses, WordLexicon, gloss_of

DAY = 86_400.0


class Words:
    """A small lexicon: what is in neither list is unknown."""

    OWN: ClassVar = {"umbrella": 4.0, "the": 7.7, "rain": 4.8, "of": 7.4, "marketing": 4.6}
    LEARN: ClassVar = {"tengo": 5.5, "un": 7.0, "casa": 6.0, "en": 7.4, "the": 5.4, "marketing": 4.4}

    def zipf(self, word, language):
        return (self.OWN if language == "en" else self.LEARN).get(word, 0.0)

    def is_known(self, word, language):
        return self.zipf(word, language) > 0

    def lemma(self, word, language):
        return word.removesuffix("s")

    def likely(self, text, language):
        return 0.99 if language == "en" and text == "the rain of the umbrella" else 0.0

    def is_borrowed(self, words, language):
        return words in ("happy-end", "zoom")


def test_a_sentence_that_is_wholly_in_ones_own_language_misses_no_word():
    assert found("tengo the rain of the umbrella") == ["the rain of the umbrella"]
    assert found("the rain of the umbrella") == []


def found(text, learn="es"):
    return [one.words for one in switches_of(text, learn, "en", Words())]


def test_a_word_of_one_s_own_is_found_with_its_place():
    (one,) = switches_of("Tengo un umbrella en casa.", "es", "en", Words())
    assert (one.words, one.begin, one.end, one.lemmas) == ("umbrella", 9, 17, ("umbrella",))


def test_small_words_belong_to_the_stretch_around_them_and_not_to_its_edges():
    assert found("tengo un umbrella of the rain en casa") == ["umbrella of the rain"]
    assert found("tengo un en casa") == []


def test_names_numbers_and_borrowed_words_are_none():
    assert found("Tengo un Umbrella en casa") == []
    assert found("Tengo 45 en casa, un 3.5") == []
    assert found("Tengo un marketing en casa") == []
    Words.OWN |= {"happy": 4.8, "end": 5.1, "zoom": 4.0}
    assert found("Tengo un happy end en casa, un zoom") == []
    assert found("Tengo un happy umbrella en casa") == ["happy umbrella"]


@given(st.text(max_size=200))
def test_any_text_has_places_that_are_its_own(text):
    for token in tokens_of(text):
        assert text[token.begin : token.end] == token.text
    for one in switches_of(text, "es", "en", Words()):
        assert text[one.begin : one.end] == one.words


def test_sentences_of_somebody_who_had_not_seen_the_program():
    reached = scores(rows_of("test"))
    assert reached["precision"] >= 0.9
    assert reached["recall"] >= 0.8
    assert reached["lemmas"] >= 0.85
    counts = false_notes()
    assert counts["number"] == counts["plain"] == 0
    assert counts["name"] <= 1
    assert counts["loanword"] <= 1


def test_run_ran_and_running_are_one_word(tmp_path):
    lexicon = WordLexicon("es", "en")
    assert {lexicon.lemma(word, "en") for word in ("run", "ran", "running")} == {"run"}


@pytest.mark.parametrize(
    ("learn", "own", "why"),
    [("xx", "en", "nothing is known of words in 'xx'; there is: .*es"), ("en", "en", "the same")],
)
def test_a_pair_without_data_is_told(learn, own, why):
    with pytest.raises(ConfigError, match=why):
        WordLexicon(learn, own)


# -- glosses -------------------------------------------------------------------------------------------------------

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def number(value):
    text = ""
    while True:
        value, digit = divmod(value, 64)
        text = SIGNS[digit] + text
        if not value:
            return text


def dictionary(folder, entries, packed):
    data, index = b"", ["00-database-info\tA\tB"]
    for word, entry in entries.items():
        index.append(f"{word}\t{number(len(data))}\t{number(len(entry.encode()))}")
        data += entry.encode()
    folder.mkdir()
    (folder / "freedict-eng-spa.index").write_text("\n".join(index) + "\n", "utf-8")
    if packed:
        (folder / "freedict-eng-spa.dict.dz").write_bytes(gzip.compress(data))
    else:
        (folder / "freedict-eng-spa.dict").write_bytes(data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_dictionary_tells_what_a_word_means(tmp_path, packed):
    entries = {
        "umbrella": "umbrella /ʌmbrelə/\nparaguas\n",
        "stable": "stable /steibl/\n1. fijo\n2. cuadra, establo\n",
        **{f"word{i}": f"word{i}\n" + "x" * i + "\n" for i in range(300)},
    }
    glosses = Glosses("en", "es", [tmp_path / "none", dictionary(tmp_path / "d", entries, packed)])
    assert glosses.here
    assert [glosses.find(w) for w in ("Umbrella", "stable", "word70", "unheard")] == [
        "paraguas", "fijo; cuadra, establo", "x" * 70, "",
    ]  # fmt: skip
    assert not Glosses("en", "fr", [tmp_path]).here
    assert gloss_of("run\n1. correr\n1. correr\n[note]\n") == "correr"


@pytest.mark.parametrize("damage", [b"not gzip", b""])
def test_a_damaged_dictionary_is_told(tmp_path, damage):
    folder = dictionary(tmp_path / "d", {"umbrella": "umbrella\nparaguas\n"}, True)
    (folder / "freedict-eng-spa.dict.dz").write_bytes(damage)
    if damage:
        with pytest.raises(ConfigError, match="cannot be read"):
            Glosses("en", "es", [folder])
    else:
        assert Glosses("en", "es", [folder]).find("umbrella") == ""


# -- what is kept --------------------------------------------------------------------------------------------------


@pytest.fixture
def notebook(tmp_path):
    made = Notebook(tmp_path / "notebook")
    yield made
    made.close()


def test_a_word_is_counted_and_its_own_gloss_stays(notebook):
    notebook.note("es", "en", "run", "running", "Estoy running.", "", 10.0)
    notebook.note("es", "en", "run", "ran", "Ayer ran.", "correr", 20.0)
    word = notebook.find("run")
    notebook.gloss(word.id, "correr deprisa")
    notebook.note("es", "en", "run", "runs", "Ella runs.", "correr", 30.0)
    notebook.note("de", "en", "run", "run", "Ich run.", "", 40.0)
    spanish, german = notebook.words()
    assert (spanish.lemma, spanish.count, spanish.gloss, spanish.first_s, spanish.last_s) == (
        "run", 3, "correr deprisa", 10.0, 30.0,
    )  # fmt: skip
    assert [one.said for one in spanish.seen] == ["running", "ran", "runs"]
    assert (german.learn, german.count, german.gloss) == ("de", 1, "")
    assert [word.learn for word in notebook.words(learn="de")] == ["de"]


def test_what_is_deleted_is_nowhere(notebook):
    for i in range(30):
        notebook.note("es", "en", f"zebra{i}", f"zebra{i}", f"Un zebra{i} aquí.")
        notebook.gloss(notebook.find(f"zebra{i}").id, f"zebra gloss {i}")
    words = [word.id for word in notebook.words()]
    notebook.delete(words[:20])
    notebook.delete(words[:25])
    assert len(notebook.words()) == 5
    notebook.delete_all()
    assert b"zebra" not in b"".join(path.read_bytes() for path in notebook.folder.rglob("*") if path.is_file())


def test_a_word_is_asked_for_later_the_better_it_was_known(notebook):
    word = notebook.note("es", "en", "umbrella", "umbrella", "Un umbrella.").id
    now = time.time()
    assert notebook.due(now) == []  # nobody can answer what nobody knows
    notebook.gloss(word, "paraguas")
    assert [one.id for one in notebook.due(now)] == [word]
    dues = []
    for grade in ("again", "hard", "good", "easy"):
        other = notebook.note("es", "en", grade, grade, "x", "y").id
        dues.append(notebook.review(other, grade, now).due_s - now)
    assert dues == sorted(dues)
    assert dues[0] < 120
    assert dues[-1] > DAY
    for _ in range(4):
        word_now = notebook.review(word, "good", now)
        gap, now = word_now.due_s - now, word_now.due_s
    assert gap > 5 * DAY
    assert word not in [one.id for one in notebook.due(now - DAY)]
    assert notebook.due(now)[-1].id == word
    with pytest.raises(ConfigError, match="a grade is again, hard, good, easy"):
        notebook.review(word, "perfect", now)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda n: n.note("es", "en", "", "x", "x"), "a word has 1 to 120"),
        (lambda n: n.note("es", "en", "x" * 200, "x", "x"), "got 200"),
        (lambda n: n.gloss(9, "x"), "no word 9"),
        (lambda n: n.word(9), "no word 9"),
        (lambda n: n.find("nope"), "'nope' is not in the notebook"),
        (lambda n: n.review(9, "good", 0.0), "no word 9"),
    ],
)
def test_what_makes_no_sense_is_told(notebook, call, why):
    with pytest.raises(ConfigError, match=why):
        call(notebook)
    assert notebook.words() == []


# -- decks ---------------------------------------------------------------------------------------------------------

ODD = ['=cmd|"/c calc"!A1', "a < b & c", 'he said "no"', "@x", "-1", "+1", "\t=x", "naïve 海"]


def test_no_cell_begins_a_formula_and_every_word_comes_back(notebook, tmp_path):
    for i, text in enumerate(ODD):
        notebook.note("es", "en", f"w{i}", text, f"{text} y más", text)
    write_csv(tmp_path / "words.csv", notebook.words())
    data = (tmp_path / "words.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines()))
    assert rows[0][:3] == ["word", "lemma", "gloss"]
    assert len(rows) == len(ODD) + 1
    for row in rows[1:]:
        assert not any(cell[:1] in ("=", "+", "-", "@", "\t") for cell in row)
    assert {row[0].lstrip("'") for row in rows[1:]} == {" ".join(text.split()) for text in ODD}
    assert inert("plain") == "plain"


def test_anki_takes_the_package_in_once_and_then_updates_it(notebook, tmp_path):
    collection = pytest.importorskip("anki.collection", reason="anki is not installed: pip install 'vjserver[dev]'")
    from anki.import_export_pb2 import ImportAnkiPackageOptions, ImportAnkiPackageRequest

    for i, text in enumerate(ODD):
        notebook.note("es", "en", f"w{i}", text, f"{text} <b>y</b>", f"gloss {text}")
    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    )
    name = notebook.media.put(png, "png")
    with notebook._db.change() as db:
        db.execute("UPDATE word SET picture = ? WHERE lemma = 'w0'", (name,))
    deck = collection.Collection(str(tmp_path / "mine.anki2"))
    try:

        def take_in():
            write_anki(tmp_path / "words.apkg", notebook.words(), notebook.media.path)
            options = ImportAnkiPackageOptions(update_notes=0, update_notetypes=0)
            deck.import_anki_package(
                ImportAnkiPackageRequest(package_path=str(tmp_path / "words.apkg"), options=options)
            )
            notes = [deck.get_note(number) for number in deck.find_notes("")]
            return {note["Word"]: note for note in notes}

        first = take_in()
        assert len(first) == len(ODD)
        assert first["a &lt; b &amp; c"]["Gloss"] == "gloss a &lt; b &amp; c"
        assert first["a &lt; b &amp; c"]["Sentence"] == "a &lt; b &amp; c &lt;b&gt;y&lt;/b&gt;"
        kept = [note["Picture"] for note in first.values() if note["Picture"]]
        assert kept == [f'<img src="{name}">']
        assert deck.media.have(name)
        assert deck.card_count() == len(ODD)
        time.sleep(1.1)  # Anki looks at whole seconds for what is newer
        notebook.gloss(notebook.find("w1").id, "less")
        second = take_in()
        assert deck.card_count() == deck.note_count() == len(ODD)
        assert second["a &lt; b &amp; c"]["Gloss"] == "less"
        assert {word: note.id for word, note in first.items()} == {word: note.id for word, note in second.items()}
    finally:
        deck.close()


def test_an_empty_notebook_makes_no_package(notebook, tmp_path):
    with pytest.raises(ConfigError, match="no words yet"):
        write_anki(tmp_path / "words.apkg", [], notebook.media.path)


# -- from the shell ------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shell_of):
    return shell_of("notebook")


def test_a_notebook_from_the_shell(shell, tmp_path, monkeypatch):
    story = tmp_path / "story.txt"
    story.write_text(
        "Ayer compré un umbrella porque llovía mucho. Hay squirrels en el jardín.\nTengo una casa.", "utf-8"
    )
    code, told = shell("read", story, "--learn", "es", "--own", "en")
    assert code == 0
    assert "2 words noted" in told
    assert "umbrella (en)" in shell("list")[1]
    assert "0 words noted" in shell("read", story, "--learn", "es", "--own", "en")[1], "it was read before"
    assert shell("gloss", "umbrella", "paraguas")[1] == "umbrella: paraguas\n"
    rows = [json.loads(row) for row in shell("list", "--json")[1].splitlines()]
    assert {row["lemma"] for row in rows} == {"umbrella", "squirrel"}
    shell("gloss", "squirrel", "ardilla")
    answers = iter(["", "3", "", "9", "1"])
    monkeypatch.setattr("builtins.input", lambda _ask: next(answers))
    told = shell("review")[1]
    assert "2 words are due" in told
    assert "paraguas" in told
    assert shell("export", "csv", "-o", tmp_path / "w.csv")[0] == 0
    assert shell("export", "anki", "-o", tmp_path / "w.apkg")[0] == 0
    assert shell("delete", "umbrella")[0] == 0
    assert "1 word is deleted" in shell("delete", "--everything")[1]
    assert "no words yet" in shell("list")[1]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("read", "nowhere.txt", "--learn", "es", "--own", "en"), "cannot be read"),
        (("gloss", "nope", "x"), "'nope' is not in the notebook"),
        (("delete",), "which word?"),
        (("export", "anki", "-o", "x.apkg"), "no words yet"),
    ],
)
def test_a_line_that_makes_no_sense_is_told(shell, line, why):
    code, told = shell(*line)
    assert code == 1
    assert why in told


def test_a_recording_waits_is_listened_to_and_goes(notebook):
    made = notebook.talk("es", "en", b"fLaC sound", 3.0, keep=False)
    assert (made.hearing, notebook.wanted(), notebook.unheard().id) == ("wanted", (1, 0), made.id)
    assert notebook.waits(made.id)
    notebook.not_heard(made.id, "nobody was understood in it")
    assert (notebook.wanted(), notebook.talks()[0].why) == ((0, 0), "nobody was understood in it")
    notebook.hear_again(made.id)
    word = notebook.note("es", "en", "zebra", "zebra", "Vi un zebra.", sound=b"fLaC sentence")
    notebook.heard(made.id, "Vi un zebra. Era grande.", [word])
    (talk,) = notebook.talks()
    assert (talk.hearing, talk.sound, talk.words, notebook.waits(made.id)) == ("", "", "zebra", False)
    assert notebook.media.read(made.sound) == b""
    assert notebook.media.read(word.seen[0].sound) == b"fLaC sentence"
    # a word that is deleted takes along what was understood of its sentence, and its sound
    notebook.delete([word.id])
    assert notebook.media.path(word.seen[0].sound) is None
    assert not any(b"zebra" in path.read_bytes() for path in notebook.folder.rglob("*") if path.is_file())
    for _ in range(30):
        notebook.heard(notebook.talk("es", "en", b"x", 1.0, keep=False).id, "x", [])
    assert len(notebook.talks()) == 20
    gone = notebook.talk("es", "en", b"y", 1.0, keep=False)
    notebook.drop_talk(gone.id)
    assert notebook.media.read(gone.sound) == b""
    notebook.talk("es", "en", b"y", 1.0, keep=False)
    assert notebook.unheard().id == notebook.unheard().id
    assert notebook.unheard() is None
    assert "ended the program twice" in notebook.talks()[0].why


def test_a_word_gets_a_picture_and_another(notebook):
    word = notebook.note("es", "en", "umbrella", "umbrella", "Un umbrella.")
    notebook.want([word.id], "pattern")
    assert (notebook.undrawn().id, notebook.wanted()) == (word.id, (0, 1))
    notebook.not_drawn(word.id, "no memory")
    failed = notebook.word(word.id)
    assert (failed.drawing, failed.why, notebook.undrawn()) == ("failed", "no memory", None)
    names = []
    for small in (b"\xff\xd8one", b"\xff\xd8two"):
        notebook.want([word.id], "pattern")
        notebook.drawn(word.id, Picture(b"", small))
        names.append(notebook.word(word.id).picture)
        assert notebook.media.read(names[-1]) == small
    assert (notebook.media.read(names[0]), notebook.wanted()) == (b"", (0, 0))
    notebook.drawn(word.id + 1, Picture(b"", b"\xff\xd8of a word that was deleted"))
    assert len(list((notebook.folder / "media").iterdir())) == 1
    notebook.delete_all()
    assert list((notebook.folder / "media").iterdir()) == []
