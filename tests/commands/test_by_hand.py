"""The list of what only a real machine can show: written, filled in, and carried by the report."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vjserver.commands.by_hand import FILE, ROWS, answered, checklist, read_list, write_list
from vjserver.types.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs/by-hand.md"


def test_the_page_and_the_program_have_one_list():
    rows = re.findall(r"^\| (\d+) \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(do, should) for _, do, should in rows] == list(ROWS)
    assert [int(number) for number, *_ in rows] == list(range(1, len(ROWS) + 1))


def test_answers_are_counted_and_an_empty_line_is_none():
    text = checklist()
    assert answered(text) == 0
    text = text.replace("saw: \n", "saw: yes\n", 1).replace("saw: \n", "saw:no, it was black\n", 1)
    assert answered(text) == 2


def test_a_list_that_was_begun_is_never_written_over(tmp_path):
    path = write_list(tmp_path)
    path.write_text("saw: yes\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        write_list(tmp_path)
    assert path.read_text(encoding="utf-8") == "saw: yes\n"


@pytest.mark.parametrize("data", ["\ufeffsaw: Größe\r\n".encode(), "saw: Größe\n".encode()])
def test_what_other_editors_make_of_it_is_read(tmp_path, data):
    (tmp_path / FILE).write_bytes(data)
    assert read_list(tmp_path) == "saw: Größe\n"


def test_what_is_no_utf8_is_told_and_no_list_is_none(tmp_path):
    assert read_list(tmp_path) == ""
    (tmp_path / FILE).write_bytes("saw: Größe\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read_list(tmp_path)


def test_the_report_carries_the_answers_without_the_name_of_a_folder(tmp_path):
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data")}

    def doctor(option):
        return subprocess.run([sys.executable, "-m", "vjserver", "doctor", option], env=env, cwd=tmp_path,
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip

    assert "Fill it in" in doctor("--by-hand").stdout
    path = tmp_path / FILE
    text = path.read_text(encoding="utf-8").replace("saw: \n", f"saw: it didn't, I couldn't, from {tmp_path}\n", 1)
    path.write_text(text, encoding="utf-8")
    told = doctor("--report").stdout
    assert f"1 of {len(ROWS) + 1} rows" in told
    with zipfile.ZipFile(told.splitlines()[0]) as bundle:
        carried = bundle.read("by-hand.txt").decode()
    assert "saw: it didn't, I couldn't, from ~\n" in carried
    assert str(tmp_path) not in carried
    assert doctor("--by-hand").returncode != 0
