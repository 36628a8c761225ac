"""Deleting in the shell: one thing by its name; all of them only when somebody says yes."""

import argparse
import sys

import pytest

from vjserver.commands import deleting
from vjserver.types.errors import ConfigError


class Kept:
    """What there is, and what is left of it."""

    def __init__(self, names):
        self.names = names

    def delete(self, name):
        self.names.remove(name)
        return f"{name} is gone"

    def run(self, *words):
        parser = argparse.ArgumentParser()
        deleting.arguments(parser, "board", "vjserver board list")
        return deleting.run(parser.parse_args(words), "board", len(self.names), self.names.clear, self.delete)


@pytest.fixture
def at_a_terminal(monkeypatch):
    def sit(answer):
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda ask: print(ask) or answer)

    return sit


def test_one_is_deleted_by_its_name(capsys):
    kept = Kept(["a", "b"])
    assert kept.run("a") == 0
    assert (kept.names, capsys.readouterr().out) == (["b"], "a is gone\n")


def test_without_a_name_nothing_is_deleted_and_it_says_what_to_type():
    kept = Kept(["a"])
    with pytest.raises(
        ConfigError, match=r"which board\? `vjserver board list` tells them; --everything deletes all boards"
    ):
        kept.run()
    assert kept.names == ["a"]


def test_the_end_of_the_input_is_no_yes(at_a_terminal, monkeypatch):
    at_a_terminal("")

    def ended(_ask):
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    kept = Kept(["a"])
    assert kept.run("--everything") == 1
    assert kept.names == ["a"]


def test_recordings_may_be_there_without_anything_else(at_a_terminal, capsys):
    at_a_terminal("no")
    assert Kept([]).run("--everything") == 1
    assert "every recording" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "no", "y", "YES, no"])
def test_whoever_does_not_say_yes_keeps_everything(at_a_terminal, capsys, answer):
    at_a_terminal(answer)
    kept = Kept(["a", "b"])
    assert kept.run("--everything") == 1
    assert kept.names == ["a", "b"]
    assert "Delete 2 boards and every recording for good" in capsys.readouterr().out


def test_whoever_says_yes_deletes_everything(at_a_terminal, capsys):
    at_a_terminal("yes")
    kept = Kept(["a", "b"])
    assert kept.run("--everything") == 0
    assert kept.names == []
    assert capsys.readouterr().out.endswith("2 boards are deleted: nothing is left of them\n")


@pytest.mark.parametrize("words", [("--everything", "--yes"), ("--everything",)])
def test_a_script_is_not_asked(monkeypatch, capsys, words):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: "--yes" in words, raising=False)
    monkeypatch.setattr("builtins.input", lambda _ask: pytest.fail("nobody is asked"))
    kept = Kept(["a"])
    assert kept.run(*words) == 0
    assert capsys.readouterr().out == "1 board is deleted: nothing is left of it\n"
