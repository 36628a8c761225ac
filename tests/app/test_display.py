"""What is shown at a terminal: foreign texts stay texts, on the live table and in plain lines."""

import fcntl
import json
import os
import pty
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import zipfile
from contextlib import contextmanager

import psutil
import pytest
from conftest import free_port, wait_for
from hypothesis import given
from hypothesis import strategies as st
from known import REGISTRY
from pythonosc.osc_message_builder import BuildError

from vjserver.cli import Plain
from vjserver.controls.osc import OscError, decode
from vjserver.runtime.osc import message
from vjserver.runtime.store import pids_of
from vjserver.types.text import clean, visible

NASTY = (
    "[/x]", "[bold red]x[/]", "[link=file:///etc/passwd]x[/link]", ":smile:", "\x1b]0;GONE\x07", "\x1b[2J\x1b[31mred",
    "\x9b31m", "a\r\nb", "a\u2028b", "\u202egnp.exe", "\0nul", "x" * 8000, "\U0001f469\u200d\U0001f680", "café",
    "{preset}", "%s%n", "'; rm", "\\[x]", "[", "]", "[]", "[/]", "\udcff"
)  # fmt: skip


@given(st.text())
def test_a_visible_text_is_printable_and_says_all_that_can_be_printed(text):
    shown = visible(text)
    assert shown.replace("\u200d", "").replace("\u200c", "").isprintable()
    if text.isprintable():
        assert shown == text
    clean(text).encode("utf-8")


def test_emoji_of_several_signs_stay_whole_and_what_steers_is_seen():
    assert visible("\U0001f469\u200d\U0001f680") == "\U0001f469\u200d\U0001f680"
    assert visible("\x1b[2J\u202e\u2028\x00") == r"\x1b[2J\u202e\u2028\x00"


def test_what_a_command_prints_steers_no_terminal_and_says_signs_that_it_cannot():
    code = (
        "import sys; from vjserver.cli import plain_streams; plain_streams(); "
        "print('\\x1b]0;GONE\\x07 caf\\u00e9 \\u2588\\u65e5'); print('a\\tb'); print('x', file=sys.stderr, flush=True)"
    )
    for encoding in ("cp1252", "ascii", "utf-8"):
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert done.stdout.splitlines()[1] == b"a\tb"


def test_a_plain_stream_is_still_a_terminal():
    class Terminal:
        encoding = "utf-8"

        def isatty(self):
            return True

        def flush(self):
            self.flushed = True

    inner = Terminal()
    stream = Plain(inner)
    assert stream.isatty()
    stream.flush()
    assert inner.flushed


class Watched:
    """A server in a pseudo-terminal, or behind a pipe: what it printed, and its processes."""

    def __init__(self, process, osc, buffer):
        self.process, self.osc, self._buffer = process, osc, buffer
        self._hand = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._hand.settimeout(1.0)

    def send(self, address, *args):
        try:
            self._hand.sendto(message(address, *args), ("127.0.0.1", self.osc))
        except (UnicodeEncodeError, BuildError):  # half a pair: no text that OSC can carry; as raw bytes instead
            self._hand.sendto(b"/vj/x\0\0\0,s\0\0\xff\xfe\0\0", ("127.0.0.1", self.osc))

    def answers(self):
        self._hand.sendto(message("/vj/ping", 7), ("127.0.0.1", self.osc))
        try:
            return any(m.address == "/vj/pong" for m in decode(self._hand.recv(65536)))
        except (TimeoutError, ConnectionError, OscError):
            return False

    def said(self):
        return b"".join(self._buffer).decode("utf-8", "replace")


@contextmanager
def shown(tmp_path, live, **env):
    """Run a small show in a terminal of 120 columns (``live``) or behind a pipe."""
    osc, show = free_port(socket.SOCK_DGRAM), tmp_path / "show.toml"
    show.write_text(
        f'name = "d{osc}"\noutputs = [{{kind = "null"}}]\n[source]\nkind = "click"\n'
        "[video]\nwidth = 320\nheight = 180\nstandby = false\n"
        f"[osc]\nport = {osc}\ntargets = []\n[web]\non = false\n[midi]\non = false\n"
    )
    ours, theirs = pty.openpty() if live else os.pipe()
    if live:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "VJSERVER_DATA": str(tmp_path / "data"), **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "vjserver", "run", str(show)], env=environment, stdin=subprocess.DEVNULL,
        stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    buffer = []

    def read():
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            buffer.append(data)

    threading.Thread(target=read, daemon=True).start()
    watched = Watched(process, osc, buffer)
    try:
        yield watched
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        watched._hand.close()
        os.close(ours)


@pytest.mark.parametrize("live", [True, False])
def test_no_text_to_any_address_ends_or_steers_what_is_shown(tmp_path, live):
    with shown(tmp_path, live) as one:
        wait_for(one.answers, 30)
        wait_for(lambda: len(pids_of(one.process.pid)) == 4, 20)
        before = pids_of(one.process.pid)
        texts = [a for a, e in REGISTRY.items() if any(s.type in ("text", "name") for s in e.arguments)]
        rng = random.Random(1)
        for address in texts:
            for text in rng.sample(NASTY, 6):
                count = len(REGISTRY[address].arguments)
                one.send(address, *[text] * count)
            time.sleep(0.02)
        for text in NASTY:
            one.send(f"/vj/{text}"[:200].replace("\0", ""), text)
            one.send("/vj/prompt/1/text", text)
            one.send("/vj/prompt/1/weight", 1.0)
            time.sleep(0.3 if live else 0.05)  # each is on the table for a while
        assert wait_for(one.answers, 20)
        assert one.process.poll() is None
        assert pids_of(one.process.pid) == before, "nobody fell"
        text = one.said()
        assert "GONE\x07" not in text
        assert "\x1b[2J\x1b[31m" not in text
        assert "\u202e" not in text
        assert "Traceback" not in text
        if live:
            assert re.search("tempo.*bpm, beat", text), "the table is there"
            assert "[bold red]x" in text or "[/x]" in text, "markup is shown as text"
        log = (tmp_path / "data" / "log" / "vjserver.log").read_text()
        assert "Traceback" not in log, log[-3000:]


def test_a_display_that_is_killed_comes_back_and_the_show_does_not_notice(tmp_path):
    with shown(tmp_path, live=False) as one:
        wait_for(one.answers, 30)
        before = wait_for(lambda: len(p := pids_of(one.process.pid)) == 4 and p, 20)
        others = set(before.values())
        children = [c for c in psutil.Process(one.process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
        display = next(c for c in children if c.pid not in others)
        display.kill()
        wait_for(lambda: "degraded process display: ended with code -9" in one.said(), 20)
        wait_for(lambda: "recovered process display: restarted" in one.said(), 20)
        assert pids_of(one.process.pid) == before
        assert one.said().count("OSC in:") == 1, "one that comes after another does not greet"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_of_few_signs_ends_nothing(tmp_path, encoding):
    with shown(tmp_path, live=False, PYTHONIOENCODING=encoding, PYTHONUTF8="0") as one:
        wait_for(one.answers, 30)
        one.send("/vj/preset/go", "夜の街")
        wait_for(lambda: "unknown preset" in one.said(), 10)
        wait_for(lambda: "first picture after" in one.said(), 60)
        assert one.process.poll() is None
        assert "Traceback" not in one.said()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.8, 1.5])
def test_an_end_in_the_first_second_is_quiet_and_leaves_nothing(tmp_path, after_s):
    with shown(tmp_path, live=False) as one:
        wait_for(lambda: psutil.Process(one.process.pid).children(), 20, 0.001)
        time.sleep(after_s)
        os.killpg(one.process.pid, signal.SIGINT)  # as a terminal does: to everybody
        one.process.wait(10)
        assert "Traceback" not in one.said()
        assert "KeyboardInterrupt" not in one.said()
    if os.path.isdir("/dev/shm"):
        assert not [name for name in os.listdir("/dev/shm") if f"vjs-{one.process.pid}-" in name]


def test_the_log_tells_versions_announcements_and_no_prompts(tmp_path):
    with shown(tmp_path, live=False) as one:
        wait_for(one.answers, 30)
        one.send("/vj/preset/go", "a secret wish")
        one.send("/vj/prompt/1/text", "another secret")
        one.send("/vj/output/add", "bad", "spout")
        wait_for(lambda: "output bad" in one.said(), 20)
        wait_for(lambda: "unknown preset" in one.said(), 10)
    text = (tmp_path / "data" / "log" / "vjserver.log").read_text()
    assert re.search(r"main: vjserver \S+ begins: Python 3", text)
    assert "degraded output bad:" in text
    assert "secret" not in text


def test_a_report_is_one_file_without_prompts_and_without_the_users_folders(tmp_path):
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}
    folder = tmp_path / "data" / "log"
    folder.mkdir(parents=True)
    (folder / "vjserver.log").write_text(f"2026-01-01 main: degraded x: {tmp_path}/show.toml got 'naked truth'\n")
    done = subprocess.run([sys.executable, "-m", "vjserver", "doctor", "--report"], env=env, cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = next(tmp_path.glob("vjserver-report-*.zip"))
    with zipfile.ZipFile(path) as bundle:
        pages = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert set(pages) == {"doctor.json", "versions.txt", "vjserver.log"}
    assert json.loads(pages["doctor.json"])
    assert "Python 3" in pages["versions.txt"]
    whole = "".join(pages.values())
    assert "naked truth" not in whole
    assert str(tmp_path) not in whole
