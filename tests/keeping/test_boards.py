"""Boards on the disk: what is changed is changed wholly, what is deleted is gone, no kill or full disk takes more."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from conftest import running, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Picture, Version
from vjserver.keeping.database import Database
from vjserver.types.errors import ConfigError, KeepingError

MADE = Version(prompt="a red sea", seed=7, generator="pattern", look=b"{}")
PICTURE = Picture(b"\xff\xd8 large", b"\xff\xd8 small")


@pytest.fixture
def boards(tmp_path):
    found = Boards(tmp_path / "boards")
    yield found
    found.close()


@pytest.fixture
def board(boards):
    return boards.make("Tonight").id


def texts(boards, board, **asked):
    return [card.text for card in boards.window(board, 0, 300, **asked)[1]]


def raw(boards):
    return b"".join(path.read_bytes() for path in boards.folder.rglob("*") if path.is_file())


def test_a_card_keeps_what_was_said_and_its_pictures(boards, board):
    card = boards.add(
        board, Card(text="a red sea", said="Um, show me a red sea.", heard="said", who="guest 1", language="en")
    )
    assert card.chosen is None
    card = boards.put(card.id, MADE, PICTURE)
    card = boards.put(card.id, replace(MADE, seed=8), PICTURE)
    assert [one.seed for one in card.versions] == [7, 8]
    assert card.chosen.seed == 8
    assert boards.media.read(card.chosen.picture) == PICTURE.data
    assert boards.write(card.id, version=card.versions[0].id).chosen.seed == 7
    again = Boards(boards.folder)
    assert again.cards(board) == boards.cards(board)
    again.close()


def test_each_change_counts(boards, board):
    changes = [boards.change_of(board)]
    card = boards.add(board, Card(text="one"))
    for call in (
        lambda: boards.write(card.id, star=True),
        lambda: boards.want(card.id, MADE),
        lambda: boards.fail(boards.next_wanted().id, "no model"),
        lambda: boards.edit(board, style="ink"),
        lambda: boards.cast(board, "Mara", "an old woman"),
        lambda: boards.delete([card.id]),
    ):
        changes.append(boards.change_of(board))
        call()
    changes.append(boards.change_of(board))
    assert changes == sorted(set(changes))
    assert boards.change_of("nobody") == -1


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(0, 8)), max_size=12))
def test_cards_are_moved_as_a_list_would_be(tmp_path_factory, moves):
    boards = Boards(tmp_path_factory.mktemp("moves"))
    board = boards.make("x").id
    cards = [boards.add(board, Card(text=str(i))).id for i in range(8)]
    order = list(cards)
    for chosen, place in moves:
        moved = list(dict.fromkeys(cards[i] for i in chosen))
        before = None if place == 8 else cards[place]
        if before in moved:
            with pytest.raises(ConfigError, match="before one of themselves"):
                boards.move(board, moved, before)
            continue
        boards.move(board, moved, before)
        left = [one for one in order if one not in moved]
        at = len(left) if before is None else left.index(before)
        order = left[:at] + moved + left[at:]
        assert [card.id for card in boards.cards(board)] == order
    boards.close()


def test_a_place_between_two_is_found_a_thousand_times(boards, board):
    cards = [boards.add(board, Card(text=str(i))).id for i in range(3)]
    for i in range(300):
        boards.move(board, [cards[i % 2]], cards[1 - i % 2])
        boards.move(board, [cards[2]], cards[i % 2])
        order = [card.id for card in boards.cards(board)]
        assert order.index(cards[2]) == order.index(cards[i % 2]) - 1
        assert order.index(cards[i % 2]) == order.index(cards[1 - i % 2]) - 1


def test_a_move_that_names_a_card_that_is_gone_moves_none(boards, board):
    cards = [boards.add(board, Card(text=str(i))).id for i in range(4)]
    boards.delete([cards[1]])
    with pytest.raises(ConfigError, match=f"card {cards[1]} is not on this board any more: nothing was moved"):
        boards.move(board, [cards[3], cards[1]], cards[0])
    assert texts(boards, board) == ["0", "2", "3"]
    with pytest.raises(ConfigError, match="nothing was moved"):
        boards.move(board, [cards[3]], cards[1])


def test_two_who_reorder_at_once_leave_every_card_once(boards, board):
    cards = [boards.add(board, Card(text=str(i))).id for i in range(20)]
    other = Boards(boards.folder)

    def shuffle(who, step):
        for i in range(40):
            who.move(board, [cards[(i * step) % 20]], cards[(i * step + 7) % 20])

    threads = [threading.Thread(target=shuffle, args=row) for row in ((boards, 3), (other, 7))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(card.id for card in boards.cards(board)) == cards
    assert [card.id for card in boards.cards(board)] == [card.id for card in other.cards(board)]
    other.close()


def test_what_is_deleted_is_nowhere(boards, board):
    card = boards.add(
        board, Card(text="zebrastripes alpha", said="the zebrastripes sentence", notes="zebrastripes note")
    )
    boards.put(
        card.id, replace(MADE, prompt="zebrastripes in ink"), Picture(b"\xff\xd8zebrapixels", b"\xff\xd8zebrasmall")
    )
    boards.keep_sound(card.id, b"fLaCzebrasound", 1.0)
    boards.add(board, Card(text="a lion"))
    boards.want(card.id, replace(MADE, prompt="zebrastripes again"))
    for word in (b"zebrastripes", b"zebrapixels", b"zebrasmall", b"zebrasound"):
        assert word in raw(boards), word
    boards.delete([card.id])
    assert b"zebra" not in raw(boards)
    assert texts(boards, board, search="zebrastripes") == []
    assert texts(boards, board) == ["a lion"]
    with pytest.raises(ConfigError, match="may have been deleted"):
        boards.card(card.id)


def test_a_text_that_was_changed_is_forgotten(boards, board):
    card = boards.add(board, Card(text="zebrastripes"))
    boards.write(card.id, text="a lion")
    assert b"zebrastripes" not in raw(boards)
    assert texts(boards, board, search="lion") == ["a lion"]


def test_one_switch_deletes_all(boards, board):
    for _ in range(3):
        card = boards.add(board, Card(text="zebrastripes"))
        boards.put(card.id, MADE, PICTURE)
    boards.cast(board, "Mara", "zebrastripes", b"\x89PNG zebra")
    other = boards.make("zebraboard").id
    boards.delete_all()
    assert boards.boards() == []
    assert b"zebra" not in raw(boards)
    assert list((boards.folder / "media").iterdir()) == []
    with pytest.raises(ConfigError):
        boards.board(other)


def test_search_finds_words_beginnings_accents_and_scripts_without_spaces(boards, board):
    for text in ("a café by the sea", "the cathedral of coral", "海辺の大聖堂", 'he said "no" - twice'):
        boards.add(board, Card(text=text))
    assert texts(boards, board, search="cafe") == ["a café by the sea"]
    assert texts(boards, board, search="sea by") == ["a café by the sea"]
    assert texts(boards, board, search="cath") == ["the cathedral of coral"]
    assert texts(boards, board, search="大聖") == ["海辺の大聖堂"]
    for odd in ('"', "* OR x", "NEAR(", "text:sea", "'; DROP TABLE card", "-", "(", "\0"):
        texts(boards, board, search=odd)
    boards.write(boards.cards(board)[1].id, star=True)
    assert texts(boards, board, starred=True) == ["the cathedral of coral"]


def test_a_window_is_never_larger_than_the_page(boards, board):
    for i in range(310):
        boards.add(board, Card(text=str(i)))
    total, cards = boards.window(board, 5, 10_000)
    assert (total, len(cards), cards[0].text) == (310, 300, "5")
    assert boards.window(board, -3, -1) == (310, [])


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda b, board: b.add(board, Card(text="")), "1 to 300 signs|1 to"),
        (lambda b, board: b.add(board, Card(text="x" * 5000)), "got 5000"),
        (lambda b, board: b.add("nobody", Card(text="x")), "no board 'nobody'"),
        (lambda b, board: b.make(" "), "a board's name has 1 to"),
        (lambda b, board: b.cast(board, "", "x"), "a name has 1 to"),
        (lambda b, board: b.write(9, star=True), "no card 9"),
        (lambda b, board: b.find("nope"), "there is no board 'nope'; there are: Tonight"),
        (lambda b, board: b.drop_version(4), "no picture 4"),
        (lambda b, board: b.put(b.add(board, Card(text="x")).id, replace(MADE, seed=-1), PICTURE), "a seed is in 0"),
        (lambda b, board: b.write(b.add(board, Card(text="x")).id, version=12), "has no picture 12"),
    ],
)
def test_what_makes_no_sense_is_told(boards, board, call, why):
    with pytest.raises(ConfigError, match=why):
        call(boards, board)
    assert not list((boards.folder / "media").glob("*"))


def test_texts_are_made_whole(boards, board):
    assert boards.add(board, Card(text=" half \ud800 a\0 sign ")).text == "half ? a sign"


# -- the studio ----------------------------------------------------------------------------------------------------


def test_what_is_wanted_is_made_in_order(boards, board):
    first, second = (boards.add(board, Card(text=text)).id for text in "ab")
    boards.want(first, MADE)
    boards.want(second, replace(MADE, seed=9))
    assert boards.wanted() == 2
    version = boards.next_wanted()
    assert (version.card, version.look) == (first, b"{}")
    assert boards.done(version.id, PICTURE, "MIT")
    made = boards.card(first)
    assert (made.chosen.making, made.chosen.licence, made.version) == ("made", "MIT", version.id)
    boards.fail(boards.next_wanted().id, "the model is not here")
    failed = boards.card(second)
    assert (failed.versions[0].making, failed.versions[0].why, failed.chosen) == (
        "failed",
        "the model is not here",
        None,
    )
    assert boards.next_wanted() is None


def test_who_asks_again_means_the_newer_one(boards, board):
    card = boards.add(board, Card(text="a")).id
    boards.want(card, MADE)
    boards.want(card, replace(MADE, seed=9))
    assert boards.wanted() == 1
    assert boards.next_wanted().seed == 9


def test_a_picture_that_ends_the_studio_twice_is_not_tried_a_third_time(boards, board):
    bad, good = (boards.add(board, Card(text=text)).id for text in "ab")
    boards.want(bad, MADE)
    boards.want(good, MADE)
    assert [boards.next_wanted().card for _ in range(3)] == [bad, bad, good]
    assert "ended the studio" in boards.card(bad).versions[0].why


def test_a_picture_of_a_card_that_was_deleted_meanwhile_is_dropped(boards, board):
    card = boards.add(board, Card(text="a")).id
    boards.want(card, MADE)
    version = boards.next_wanted()
    boards.delete([card])
    assert not boards.done(version.id, PICTURE, "")
    assert not list((boards.folder / "media").glob("*"))
    boards.fail(version.id, "late")


def test_a_picture_may_be_dropped_and_another_stands(boards, board):
    card = boards.add(board, Card(text="a")).id
    for seed in (1, 2):
        boards.put(card, replace(MADE, seed=seed), PICTURE)
    boards.drop_version(boards.card(card).version)
    assert boards.card(card).chosen.seed == 1
    boards.drop_version(boards.card(card).version)
    assert boards.card(card).chosen is None
    assert not list((boards.folder / "media").glob("*"))


def test_tonight_is_the_board_of_the_last_hours(boards, monkeypatch):
    first = boards.tonight("Friday")
    assert boards.tonight("later").id == first.id
    old = boards.make("what was said yesterday")
    boards.add(first.id, Card(text="now", heard="typed", t_s=time.time() + 1))
    boards.edit(old.id, style="ink")
    assert boards.tonight("later").id == first.id
    later_s = time.time() + 13 * 3600
    monkeypatch.setattr(time, "time", lambda: later_s)
    assert boards.tonight("Saturday").name == "Saturday"


# -- what goes wrong -----------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from vjserver.keeping.boards import Boards
boards = Boards(Path(sys.argv[1]))
board = boards.boards()[0].id
ids = [card.id for card in boards.cards(board)]
print("ready", flush=True)
while True:
    ids.reverse()
    boards.move(board, ids, None)
"""


def test_a_kill_in_the_middle_of_a_reorder_leaves_the_old_order_or_the_new(boards, board):
    there = [boards.add(board, Card(text=str(i))).id for i in range(400)]
    for _ in range(5):
        with running([sys.executable, "-c", KILLED, str(boards.folder)], stdout=subprocess.PIPE, text=True) as one:
            assert one.stdout.readline() == "ready\n"
            before = boards.change_of(board)
            wait_for(lambda since=before: boards.change_of(board) > since + 2)
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
        order = [card.id for card in boards.cards(board)]
        assert order in (there, there[::-1])
        boards.move(board, order[:1], None)
        boards.move(board, order[:1], order[1])


def test_what_a_killed_process_left_in_the_folder_is_swept(boards, board):
    card = boards.put(boards.add(board, Card(text="a")).id, MADE, PICTURE)
    names = [boards.media.put(b"orphan", "jpg") for _ in range(2)]
    old = time.time() - 3600
    for path in (boards.folder / "media").iterdir():
        if path.name != names[1]:
            os.utime(path, (old, old))
    assert boards.sweep() == 1
    assert boards.media.read(card.chosen.picture) == PICTURE.data
    assert boards.media.path(names[0]) is None
    assert boards.media.path(names[1]) is not None


@pytest.mark.parametrize("name", ["../boards.sqlite", "boards.sqlite", "/etc/passwd", "", "a" * 16 + ".sh", "con.jpg"])
def test_no_name_leads_out_of_the_folder(boards, name):
    assert boards.media.path(name) is None
    assert boards.media.read(name) == b""


def test_a_newer_layout_and_a_foreign_file_are_left_alone(tmp_path):
    Boards(tmp_path).close()
    path = tmp_path / "boards.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(KeepingError, match="written by a newer vjserver"):
        Boards(tmp_path)
    path.write_bytes(b"a recipe for soup, " * 200)
    with pytest.raises(KeepingError, match="cannot be opened: file is not a database"):
        Boards(tmp_path)
    assert path.read_bytes().startswith(b"a recipe")
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(KeepingError, match="not one of vjserver's"):
        Boards(tmp_path)


def test_the_folder_is_the_user_s_own(boards):
    if sys.platform == "win32":
        pytest.skip("modes of files are Unix's")
    assert boards.folder.stat().st_mode & 0o077 == 0
    assert (boards.folder / "boards.sqlite").stat().st_mode & 0o077 == 0


FULL = """
set -e
mount -t tmpfs -o size=600k none {at}
{python} - {at} <<'PROGRAM'
import sys
from pathlib import Path
from vjserver.keeping.boards import Boards, Card, Picture, Version
from vjserver.keeping.database import Database
from vjserver.types.errors import KeepingError
boards = Boards(Path(sys.argv[1]))
board = boards.make("Tonight").id
count = 0
try:
    while True:
        card = boards.add(board, Card(text=f"phrase {{count}} " + "x" * 200))
        count += 1
        boards.put(card.id, Version(prompt="p", seed=1, generator="pattern"), Picture(b"y" * 20000, b"z" * 2000))
except KeepingError as error:
    print("told:", error)
boards.close()
again = Boards(Path(sys.argv[1]))
print("cards", len(again.cards(board)) - count)
try:
    again.move(board, [card.id], again.cards(board)[0].id)
except KeepingError as error:
    pass
print("order", len(again.cards(board)) - count)
again.delete([card.id for card in again.cards(board)[:5]])
again.add(board, Card(text="room again"))
print("well")
PROGRAM
"""


def test_on_a_full_disk_the_last_board_can_be_read_and_goes_on_when_there_is_room(tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a small disk needs a mount of our own, which this system does not allow")
    at = tmp_path / "disk"
    at.mkdir()
    script = FULL.format(at=at, python=sys.executable)
    done = subprocess.run([unshare, "-rm", "bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].startswith("told:")
    assert "cannot be written" in rows[0]
    assert rows[1:3] in (["cards 0", "order 0"], ["cards 1", "order 1"])
    assert rows[-1] == "well"


# -- what a reviewer found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_texts_that_were_edited_and_then_deleted_are_nowhere(boards, board, seed):
    ids = [boards.add(board, Card(text=f"zebra {seed} {i} " + "stripes " * (i % 9))).id for i in range(40)]
    for i, card in enumerate(ids):
        boards.write(card, text=f"zebra {i} " + "y" * (i * 37 * (seed + 1) % 300))
        boards.write(card, notes=f"zebra note {i}")
    boards.delete(ids[::2])
    boards.delete([*ids, 99_999])  # those that are gone already are no fault
    assert b"zebra" not in raw(boards)


def test_somebody_who_reads_keeps_nothing_of_what_is_deleted(boards, board):
    card = boards.add(board, Card(text="zebrastripes"))
    other = Boards(boards.folder)
    cursor = other._db._db.execute("SELECT text FROM card")
    threading.Timer(0.5, cursor.close).start()
    boards.delete([card.id])
    assert b"zebra" not in raw(boards)
    other.close()


def test_a_star_does_not_bring_an_old_text_back(boards, board):
    card = boards.add(board, Card(text="old"))
    other = Boards(boards.folder)
    held = other._db.change()
    with held as db:
        star = threading.Thread(target=boards.write, args=(card.id,), kwargs={"star": True})
        star.start()
        time.sleep(0.2)
        db.execute("UPDATE card SET text = 'new' WHERE id = ?", (card.id,))
    star.join()
    found = boards.card(card.id)
    assert (found.text, found.star) == ("new", True)
    other.close()


def test_two_studios_make_no_picture_twice(boards, board):
    card = boards.add(board, Card(text="a")).id
    boards.want(card, MADE)
    version = boards.next_wanted()
    with boards._db.change() as db:  # as another process that lives
        db.execute("UPDATE version SET claimed = ?", (os.getppid(),))
    assert boards.next_wanted() is None
    with boards._db.change() as db:  # as one that was killed
        db.execute("UPDATE version SET claimed = ?", (2**22 + 7,))
    assert boards.next_wanted().id == version.id
    assert boards.done(version.id, PICTURE, "")
    assert not boards.done(version.id, PICTURE, "")
    assert len(list((boards.folder / "media").iterdir())) == 2


def test_files_of_a_change_that_fails_go_again(boards, board):
    for call in (
        lambda: boards.keep_sound(77, b"fLaC", 1.0),
        lambda: boards.put(77, MADE, PICTURE),
        lambda: boards.cast("nobody", "Mara", "old", b"\x89PNG"),
    ):
        with pytest.raises(ConfigError, match="may have been deleted"):
            call()
    assert not list((boards.folder / "media").glob("*"))


def test_a_card_before_one_that_is_gone_is_told(boards, board):
    with pytest.raises(ConfigError, match="card 77 is not on this board any more"):
        boards.add(board, Card(text="x"), before=77)
    assert boards.cards(board) == []


def test_a_card_of_tomorrow_takes_no_other_cards(boards, board):
    boards.add(board, Card(text="x", heard="said", t_s=time.time() + 1e6))
    later = boards.make("Newer")
    boards.add(later.id, Card(text="y", heard="said"))
    assert boards.tonight("z").id == later.id


def test_what_could_only_be_read_is_written_again_when_there_is_room(boards, board, monkeypatch):
    boards.add(board, Card(text="one"))
    boards._db.forget()
    begin = Database._begin

    def full(self, db):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error

    monkeypatch.setattr(Database, "_begin", full)
    other = Boards(boards.folder)
    assert texts(other, board) == ["one"]
    with pytest.raises(KeepingError, match="cannot be written"):
        other.add(board, Card(text="two"))
    monkeypatch.setattr(Database, "_begin", begin)
    boards.add(board, Card(text="three"))
    other._db._again_s = 0.0
    assert texts(other, board) == ["one", "three"]
    other.add(board, Card(text="two"))
    assert texts(boards, board) == ["one", "three", "two"]
    other.close()


def test_many_processes_may_be_the_first(tmp_path):
    line = "import sys; from pathlib import Path; from vjserver.keeping.boards import Boards; Boards(Path(sys.argv[1]))"
    made = [
        subprocess.Popen([sys.executable, "-c", line, str(tmp_path / "b")], stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [one.communicate()[1] for one in made] == [b""] * 4
