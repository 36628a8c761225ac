"""``vjserver init``, ``help`` and ``completion``: what a newcomer types first."""

import re
import subprocess
import sys
import tomllib

import pytest

from vjserver.app.show import load_show
from vjserver.commands.init import show_text, write_show
from vjserver.types.errors import ConfigError

SETTING = re.compile(r"^# (\w+ = .+)$")
DOORS = {"source", "generators", "record"}
"""Tables that are kept as they were written: whoever they are for fills in the rest."""
TABLE = re.compile(r"^\[(.+)\]$")


def settings():
    """Yield each line that is a comment to be taken away, with the lines that its table begins with."""
    lines, table = show_text().splitlines(), ()
    for number, line in enumerate(lines):
        if "[[outputs]]" in line:
            return
        if TABLE.match(line):
            rest = lines[number + 1 : number + 2]
            table = (line, *[row for row in rest if row.startswith("kind = ")])
        found = SETTING.match(line)
        if found:
            yield "\n".join([*table, found[1]])


def test_the_file_as_it_is_changes_nothing(tmp_path):
    path = write_show(tmp_path / "show.toml")
    (tmp_path / "empty.toml").write_text("")
    ours, plain = (load_show(p).model_dump(exclude={"generators"}) for p in (path, tmp_path / "empty.toml"))
    assert ours == plain
    assert tomllib.loads(show_text())


@pytest.mark.parametrize("text", list(settings()), ids=lambda text: text.replace("\n", " ")[:60])
def test_every_line_can_be_taken_as_it_is(tmp_path, text):
    path = tmp_path / "show.toml"
    path.write_text(text + "\n")
    (tmp_path / "empty.toml").write_text(text.rpartition("\n")[0] + "\n")
    ours, plain = (load_show(p).model_dump(exclude=DOORS) for p in (path, tmp_path / "empty.toml"))
    assert ours == plain, "and it is the default that it shows"


def test_everything_at_once_is_a_show_too(tmp_path):
    text = re.sub(r"(?m)^# (\w+ = .+|\[.+\])$", r"\1", show_text())
    path = tmp_path / "show.toml"
    path.write_text(text)
    assert [row["kind"] for row in load_show(path).outputs] == ["sharedmem", "zmq", "ndi"]


def test_a_file_that_is_there_stays(tmp_path):
    path = tmp_path / "show.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_show(path)
    assert path.read_text() == "mine"


def run(*args):
    return subprocess.run([sys.executable, "-m", "vjserver", *args], capture_output=True, text=True)


def test_help_helps():
    assert "run a show" in run("help").stdout
    assert "--port-base" in run("help", "run").stdout
    assert "address" in run("help", "osc", "send").stdout
    assert "run a show" in run().stdout, "no command at all is a question too"
    assert run("help", "nosuch").returncode != 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_learns_the_commands(shell):
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


def test_a_message_to_nobody_says_so():
    done = run("osc", "send", "/vj/ping", "--port", "9")
    assert done.returncode == 1
    assert "no server answers" in done.stderr
