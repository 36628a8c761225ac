"""What leaves a board, and what comes in: PDF, folders, storyboards, films, scripts; bad files leave nothing behind."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
import soundfile

from vjserver.documents import fonts, pdf
from vjserver.documents.archive import export_pictures, export_storyboarder, import_pictures
from vjserver.documents.fountain import board_of_script
from vjserver.films.board import make_film, shots_of, storyboard_of, subtitles_of, write_storyboard
from vjserver.films.storyboard import read_storyboard
from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Version
from vjserver.keeping.pictures import encoded, read
from vjserver.runtime.installed import installed
from vjserver.show.casting import told
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError

pytest.importorskip("fpdf", reason="fpdf2 is not installed: pip install 'vjserver[documents]'")
LONG = ("the long caption of this card goes on about a cathedral of coral under a violet sea " * 5)[:400].strip()
TEXTS = (
    "A red sea under a full moon", "Красное море под луной", "Η κόκκινη θάλασσα", "赤い海と満月", "바다 위의 달",
    "البحر الأحمر", LONG, "naïve façade — Ökosystem",
)  # fmt: skip


def colour(red, green, blue, size=(640, 360)):
    pixels = np.zeros((size[1], size[0], 4), np.uint8)
    pixels[:] = (red, green, blue, 255)
    return encoded(pixels)


@pytest.fixture
def boards(tmp_path):
    made = Boards(tmp_path / "boards")
    yield made
    made.close()


@pytest.fixture
def board(boards):
    board = boards.make("Tonight: море", "woodcut")
    for i, (text, rgb) in enumerate((("a red sea", (200, 0, 0)), ("Mara in blue", (0, 0, 200)), ("no picture", None))):
        card = boards.add(
            board.id, Card(text=text, said=f"Um, {text}.", notes=f"note {i}", heard="said", t_s=100.0 + i)
        )
        if rgb:
            look = msgspec.json.encode(Look(seed=i + 1))
            version = Version(prompt=text, seed=i + 1, generator="pattern", licence="MIT", look=look, t_s=5.0)
            boards.put(card.id, version, colour(*rgb))
    boards.cast(board.id, "Mara", "an old woman", colour(9, 9, 9).data, "jpg")
    return boards.board(board.id)


@pytest.fixture
def voice(boards, board, tmp_path):
    """Have the first card keep a sound of 5 s."""
    path = tmp_path / "said.flac"
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(5 * 16000) / 16000)
    soundfile.write(path, tone.astype(np.float32), 16000)
    return boards.keep_sound(boards.cards(board.id)[0].id, path.read_bytes(), 5.0)


# -- PDF -----------------------------------------------------------------------------------------------------------


def texts_of(path):
    done = subprocess.run(["pdftotext", "-raw", str(path), "-"], capture_output=True, text=True, check=True)
    return done.stdout


def boxes_of(path):
    """Return (page, left, top, right, bottom, word) of each word."""
    done = subprocess.run(["pdftotext", "-bbox", str(path), "-"], capture_output=True, text=True, check=True)
    page, rows = 0, []
    for line in done.stdout.splitlines():
        page += "<page " in line
        if "<word" in line:
            values = [float(part.split('"')[0]) for part in line.split('="')[1:5]]
            rows.append((page, *values, line.split(">")[1].split("<")[0]))
    return rows


@pytest.fixture
def poppler():
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (make test installs poppler-utils on Debian and Ubuntu)")


def cells(texts=TEXTS, notes="Action: the camera goes slowly to the left."):
    picture = colour(200, 80, 20).data
    return [pdf.Cell(str(i), text, notes, lambda: picture) for i, text in enumerate(texts, 1)]


@pytest.mark.parametrize("per_page", [2, 4, 6, 9])
def test_captions_in_every_script_are_found_and_fonts_are_in_the_file(tmp_path, poppler, per_page):
    said = []
    pages = pdf.write_cards(tmp_path / "b.pdf", "Board", cells(), per_page, say=said.append)
    assert pages == -(-len(TEXTS) // per_page)
    found = " ".join(texts_of(tmp_path / "b.pdf").split())
    missing = {row.split("(")[0] for row in said}
    for text in TEXTS:
        if any(fonts.script_of(ord(sign)) in row for sign in text for row in missing):
            continue  # this system has no font for it, which was said
        if text.startswith("البحر"):
            found_signs = set(found)  # a reader of its own puts them in order
            assert {"ا", "ل", "ب", "ح", "ر"} <= found_signs
        else:
            assert text in found, text
    listed = subprocess.run(["pdffonts", str(tmp_path / "b.pdf")], capture_output=True, text=True, check=True)
    rows = listed.stdout.splitlines()[2:]
    assert rows
    head = listed.stdout.splitlines()[0]
    at = head.index("emb")
    assert all(row[at : at + 3].strip() == "yes" for row in rows), listed.stdout


@pytest.mark.parametrize("per_page", [2, 6, 9])
@pytest.mark.parametrize("points", [8.0, 10.0, 18.0])
def test_a_long_caption_overlaps_nothing(tmp_path, poppler, per_page, points):
    unlike = [" ".join(f"w{n}x{i}" for i in range(66))[:400] for n in range(per_page)]
    notes = " ".join(f"note{i}" for i in range(20))
    pdf.write_cards(tmp_path / "b.pdf", "Board", cells(unlike, notes), per_page, points)
    rows = boxes_of(tmp_path / "b.pdf")
    words = {row[-1] for row in rows}
    for text in unlike:
        assert words >= set(text.split()[:-1])
    for i, (page, left, top, right, bottom, word) in enumerate(rows):
        assert 0 <= left < right <= 842.5, word
        assert 0 <= top < bottom <= 595.5, word
        for other in rows[i + 1 :]:
            if other[0] != page:
                continue
            wide = min(right, other[3]) - max(left, other[1])
            high = min(bottom, other[4]) - max(top, other[2])
            # boxes of words are as high as the font's line, which lines that follow may touch
            assert wide < 0.5 or high < 0.35 * (bottom - top), (word, other[-1])


def test_a_missing_font_is_one_warning_by_name_and_no_box(tmp_path, poppler, monkeypatch):
    monkeypatch.setattr(fonts, "folders", list)
    said = []
    pdf.write_cards(tmp_path / "b.pdf", "Board", cells(("sea 赤い海 moon", "大聖堂", "море")), 4, say=said.append)
    assert [row.split(" (")[0] for row in said] == ["no font here can write Chinese, Japanese or Korean"]
    assert "fonts-noto-cjk" in said[0]
    found = texts_of(tmp_path / "b.pdf")
    assert "sea  moon" in found or "sea moon" in found
    assert "\ufffd" not in found


@pytest.mark.parametrize(
    ("per_page", "points", "why"), [(5, 10.0, "a page has 1, 2, 4, 6, 9 cards"), (6, 3.0, "6..24 points: got 3")]
)
def test_a_page_that_makes_no_sense_is_told(tmp_path, per_page, points, why):
    with pytest.raises(ConfigError, match=why):
        pdf.write_cards(tmp_path / "b.pdf", "Board", cells(), per_page, points)
    assert list(tmp_path.iterdir()) == []


# -- folders -------------------------------------------------------------------------------------------------------


def plain(boards, board):
    """Return what a board says, without numbers of its own."""
    rows = []
    for card in boards.cards(board):
        versions = [(v.prompt, v.seed, v.generator, v.licence, v.look, v.t_s) for v in card.versions]
        chosen = [one.id for one in card.versions].index(card.version) if card.chosen else None
        rows.append((card.text, card.said, card.notes, card.heard, card.t_s, card.star, versions, chosen, card.sound_s))
    found = boards.board(board)
    return rows, found.name, found.style, [(m.name, m.look, bool(m.picture)) for m in found.cast]


def test_a_folder_brings_back_what_was_taken_away(boards, board, voice, tmp_path):
    export_pictures(boards, board, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["board.json", "card-00001-a.png", "card-00001-sound.flac", "card-00002-a.png", "cast-01.png"]
    other = Boards(tmp_path / "other")
    taken = import_pictures(other, tmp_path / "out")
    assert plain(other, taken.id) == plain(boards, board.id)
    kept = cv2.imdecode(np.frombuffer(other.media.read(other.cards(taken.id)[0].chosen.picture), np.uint8), 1)
    assert np.abs(kept.reshape(-1, 3).mean(axis=0) - (0, 0, 200)).max() < 4
    other.close()
    with pytest.raises(ConfigError, match="is there already"):
        export_pictures(boards, board, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(version=2), "of version 2: 'vjserver board' of version 1 is needed"),
        (lambda d: d.update(format="other"), "nothing was taken in"),
        (lambda d: d["cards"][0].update(text=""), "a card's text has 1 to"),
        (lambda d: d["cards"][0]["versions"][0].update(picture="../../etc/passwd"), "is no name of a picture"),
        (lambda d: d["cards"][0]["versions"][0].update(picture="gone.png"), "cannot be read"),
        (lambda d: d["cards"][0]["versions"][0].update(picture="board.json"), "is no name of a picture"),
        (lambda d: d["cards"][0]["versions"][0].update(seed="x"), "is no board"),
        (lambda d: d["cards"][0]["versions"][0].update(look="%%"), "is no board"),
        (lambda d: d.update(cards=7), "is no board"),
        (lambda d: d["cast"][0].update(look=7), "is no board|"),
    ],
)
def test_a_folder_that_makes_no_sense_leaves_nothing(boards, board, tmp_path, change, why):
    export_pictures(boards, board, tmp_path / "out")
    path = tmp_path / "out/board.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    other = Boards(tmp_path / "other")
    with pytest.raises(ConfigError, match=why):
        import_pictures(other, tmp_path / "out")
    assert other.boards() == []
    assert list((other.folder / "media").glob("*")) == []
    other.close()


def test_storyboarder_finds_its_files(boards, board, voice, tmp_path):
    export_storyboarder(boards, board, tmp_path / "out", "tonight")
    whole = json.loads((tmp_path / "out/tonight.storyboarder").read_text(encoding="utf-8"))
    assert [row["action"] for row in whole["boards"]] == ["a red sea", "Mara in blue", "no picture"]
    assert [row["time"] for row in whole["boards"]] == [0, 5000, 7000]
    assert len({row["uid"] for row in whole["boards"]}) == 3
    images = tmp_path / "out/images"
    for row in whole["boards"][:2]:
        for name, size in (
            ("reference.png", (900, 1600)),
            ("posterframe.jpg", (900, 1600)),
            ("thumbnail.png", (60, 107)),
        ):
            path = images / row["url"].replace(".png", f"-{name}")
            assert cv2.imread(str(path)).shape[:2] == size, path
        assert (images / row["layers"]["reference"]["url"]).exists()
    assert soundfile.info(images / whole["boards"][0]["audio"]["filename"]).duration == pytest.approx(5.0)
    assert whole["boards"][2]["layers"] == {}


# -- storyboards and films -----------------------------------------------------------------------------------------


def test_a_storyboard_is_what_the_board_is(boards, board, voice, tmp_path):
    path = tmp_path / "storyboard.toml"
    write_storyboard(board, boards.cards(board.id), boards.media.path, installed(), path)
    found = read_storyboard(path, installed())
    assert (found.title, found.style) == ("Tonight: море", "woodcut")
    assert [scene.prompts[0].text for scene in found.scenes] == ["a red sea", "Mara in blue", "no picture"]
    assert [scene.seed for scene in found.scenes] == [1, 2, None]
    assert [scene.lasts for scene in found.scenes] == ["5.60", "4.00", "4.00"]
    assert found.cast["Mara"].look == "an old woman"
    assert cv2.imread(str(tmp_path / found.cast["Mara"].picture)) is not None
    assert told("Mara in blue", {"Mara": "an old woman"}, "woodcut") == "Mara (an old woman) in blue, woodcut"


def test_an_empty_board_says_what_is_missing(boards):
    board = boards.make("empty")
    with pytest.raises(ConfigError, match="has no cards"):
        storyboard_of(board, [], installed())
    card = boards.add(board.id, Card(text="no picture"))
    with pytest.raises(ConfigError, match="no card of this board has a picture"):
        shots_of([card])


def test_a_film_shows_each_card_while_it_is_said(boards, board, voice, tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'vjserver[film]'")
    out = tmp_path / "film.mp4"
    length = make_film(board, boards.cards(board.id), boards.media.path, out, (320, 180), 10)
    assert length == pytest.approx(9.6)
    with av.open(str(out)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 96
    at = [frame[20:80].reshape(-1, 3).mean(axis=0) for frame in frames]
    assert at[20][0] > 150 > 60 > at[20][2]
    assert at[90][2] > 150 > 60 > at[90][0]
    both = at[58]  # 5.8 s: they fade
    assert min(both[0], both[2]) > 30
    bright = [frame[130:175].max() for frame in frames]
    assert bright[20] > 230, "the caption is in the picture"
    with av.open(str(out)) as file:
        sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in file.decode(audio=0)])
    rate = len(sound) / 9.6
    assert np.abs(sound[round(1 * rate) : round(4 * rate)]).mean() > 0.1
    assert np.abs(sound[round(6 * rate) : round(9 * rate)]).mean() < 0.01
    srt = out.with_suffix(".srt").read_text(encoding="utf-8")
    assert "00:00:00,000 --> 00:00:05,550\nUm, a red sea.\n" in srt
    assert srt == subtitles_of(shots_of(boards.cards(board.id)))
    plain = tmp_path / "plain.mp4"
    make_film(board, boards.cards(board.id), boards.media.path, plain, (320, 180), 10, burnt=False)
    with av.open(str(plain)) as file:
        assert max(frame.to_ndarray(format="rgb24")[130:175].max() for frame in file.decode(video=0)) < 230
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


# -- scripts -------------------------------------------------------------------------------------------------------

SCRIPT = """Title: The *Harbour*
Author: Nobody

INT. HARBOUR - NIGHT

Mara stands in the _rain_. [[a note]]

MARA
(softly)
The sea is red.

> CUT TO:

/* nothing of this
is there */

EXT. TOWER - DAY #1#

BOB
Fire!

The tower burns.
"""


def test_a_script_becomes_cards(boards):
    board = board_of_script(boards, SCRIPT)
    assert board.name == "The Harbour"
    assert [(card.text, card.notes) for card in boards.cards(board.id)] == [
        ("Mara stands in the rain.", "INT. HARBOUR - NIGHT\nMARA (softly)\nMARA: The sea is red."),
        ("EXT. TOWER - DAY", "EXT. TOWER - DAY\nBOB: Fire!"),
        ("The tower burns.", "EXT. TOWER - DAY"),
    ]
    assert board_of_script(boards, "\ufeffINT. A\r\n\r\nGo.\r\n", "mine").name == "mine"


def test_each_paragraph_of_a_script_is_a_card_and_nothing_of_it_is_lost(boards):
    paragraphs = [f"Paragraph {i} of the action." for i in range(100)]
    board = board_of_script(boards, "INT. HALL\n\n" + "\n\n".join([*paragraphs, "long " * 700 + "end."]))
    cards = boards.cards(board.id)
    assert [card.text for card in cards[:-1]] == paragraphs
    assert cards[-1].notes.endswith("end.")


@pytest.mark.parametrize("text", ["", "\n\n", "Title: x\n", "> CUT TO:\n", "\0" * 9, "/* all of it"])
def test_a_script_without_action_is_told(boards, text):
    with pytest.raises(ConfigError, match=r"no action|1 to"):
        board_of_script(boards, text)
    assert boards.boards() == []


# -- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(640, 360), (512, 512), (100, 900), (900, 10), (1, 1)])
def test_a_picture_of_any_form_is_kept_with_a_small_one(size):
    picture = colour(10, 200, 30, size)
    assert cv2.imdecode(np.frombuffer(picture.data, np.uint8), 1).shape[:2] == size[::-1]
    assert cv2.imdecode(np.frombuffer(picture.small, np.uint8), 1).shape[:2] == (180, 320)


def test_a_small_file_of_a_huge_picture_is_not_decoded():
    head = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (16000).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    with pytest.raises(ConfigError, match="got 16000x16000"):
        read(head)
    with pytest.raises(ConfigError, match="got 8000x8000"):
        read(head.replace((16000).to_bytes(4), (8000).to_bytes(4)))
    found = read(colour(1, 2, 3, (40, 30)).data)
    assert cv2.imdecode(np.frombuffer(found.data, np.uint8), 1).shape == (30, 40, 3)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xffnothing", b"\x89PNG\r\n\x1a\nnothing"])
def test_what_is_no_picture_is_told(data):
    with pytest.raises(ConfigError, match=r"a picture is a JPEG or a PNG|cannot be read"):
        read(data)


def test_a_card_made_again_has_the_style_and_the_cast(boards, board):
    from vjserver.keeping.wishes import wanted_of

    card = boards.cards(board.id)[1]
    version = wanted_of(board, card, replace(Look(), negative="text", seed=4), seed=9)
    assert version.prompt == "Mara (an old woman) in blue, woodcut"
    assert (version.seed, version.negative, version.generator) == (9, "text", "pattern")
    beside = wanted_of(board, card, replace(Look(), texts=("one", "another card's", *[""] * 6), weights=(1.0,) * 8))
    look = msgspec.json.decode(beside.look, type=Look)
    assert look.texts[0] == beside.prompt
    assert not any(look.texts[1:])


def test_nothing_is_left_where_a_folder_cannot_be_written(boards, board, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fails)
    boards.keep_sound(boards.cards(board.id)[0].id, b"fLaC", 1.0)
    from vjserver.types.errors import OutputError

    with pytest.raises(OutputError, match="No space left"):
        export_pictures(boards, board, tmp_path / "out")
    assert not [name for name in os.listdir(tmp_path) if "out" in name]
