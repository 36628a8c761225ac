"""The supervisor, with real processes: what falls, what hangs, what stands by, and the end."""

import gc
import os
import signal
import time

import psutil
import pytest
from conftest import wait_for

from vjserver.runtime import log, shared
from vjserver.runtime.life import SEGMENT_SIZE
from vjserver.runtime.supervisor import Supervisor, Worker
from vjserver.types.errors import VJError


def fall(life):
    """A worker that falls."""
    raise SystemExit(3)


def tell(life):
    """A worker that says why it falls."""
    raise VJError("the reason, in words")


def trip(life):
    """A worker with a fault in it."""
    return 1 / 0


def stay(life):
    """A worker that stays until told."""
    while not life.stopped():
        time.sleep(0.01)


def deaf(life):
    """A worker that does not listen."""
    time.sleep(60)


def stuck(life):
    """A worker that begins well, and then hangs."""
    for _ in range(30):
        life.stopped()
        time.sleep(0.01)
    time.sleep(60)


def slow(life):
    """A worker that does something long, and says so."""
    life.stopped()
    with life.tolerate(30.0):
        time.sleep(1.5)
    stay(life)


def play(path, life):
    """A worker that may stand by: it writes down when it begins."""
    if life.wait_for_cue():
        with open(path, "a") as file:
            file.write(f"{os.getpid()} {time.perf_counter()}\n")
        stay(life)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return a function that starts workers; all of them are ended afterwards."""
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    name, told, made = f"vjs-test-{os.getpid()}-{time.monotonic_ns()}", [], []
    segment = shared.create(name, SEGMENT_SIZE)

    def begin(*workers, suspect=lambda _name: None):
        supervisor = Supervisor(list(workers), lambda *row: told.append(row), gc.collect, name, suspect)
        made.append(supervisor)
        supervisor.start()
        return supervisor, told

    yield begin
    for supervisor in made:
        supervisor.stop()
    shared.remove(segment)


def until(supervisor, what, seconds=20.0):
    """Let the supervisor watch until ``what`` is true."""

    def look():
        supervisor.wait(0.02)
        supervisor.check()
        return what()

    return wait_for(look, seconds, 0.0)


def test_the_fallen_are_restarted_with_backoff(start):
    supervisor, told = start(Worker("fall", f"{__name__}:fall", ()))
    until(supervisor, lambda: len(told) >= 4)
    assert told[:3] == [
        ("fall", "ended with code 3; starting again in 0.1 s", False),
        ("fall", "restarted after fall 1", True),
        ("fall", "ended with code 3; starting again in 0.5 s", False),
    ]


@pytest.mark.parametrize(("worker", "why"), [("tell", "the reason, in words"), ("trip", "ZeroDivisionError: division")])
def test_the_reason_of_a_fall_is_told_and_its_traceback_is_in_the_log(start, worker, why):
    supervisor, told = start(Worker(worker, f"{__name__}:{worker}", ()))
    until(supervisor, lambda: told)
    assert told[0][1].startswith(f"ended with code 1: {why}")
    text = log.log_file().read_text()
    assert f" {worker}: fell\n" in text
    assert f"in {worker}\n" in text, "the traceback names the function"


def test_a_signal_to_one_worker_does_not_end_them_all(start):
    one, other = Worker("one", f"{__name__}:stay", ()), Worker("other", f"{__name__}:stay", ())
    supervisor, told = start(one, other)
    before = supervisor.pids()
    psutil.Process(before["one"]).terminate()
    until(supervisor, lambda: ("one", "restarted after fall 1", True) in told)
    assert supervisor.pids()["other"] == before["other"]


def test_all_are_gone_within_two_seconds_also_those_that_are_deaf_or_stopped(start):
    names = ("stay", "deaf", "stay", "stay")
    workers = [Worker(f"{name}{i}", f"{__name__}:{name}", (), 30.0, True) for i, name in enumerate(names)]
    supervisor, _ = start(*workers)
    until(supervisor, lambda: len([w for w in workers if w.understudy is not None]) == 4)
    processes = [psutil.Process(run.process.pid) for w in workers for run in (w.run, w.understudy)]
    os.kill(processes[0].pid, signal.SIGSTOP)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 2.0
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("how", ["stuck", "stopped"])
def test_a_worker_that_hangs_is_ended_announced_and_started_again(start, how):
    worker = Worker(how, f"{__name__}:{'stuck' if how == 'stuck' else 'stay'}", (), patience_s=0.5)
    supervisor, told = start(worker)
    first = supervisor.pids()[how]
    if how == "stopped":
        at = 64 * (worker.run.row + 1)
        until(supervisor, lambda: supervisor._segment.words[at])
        os.kill(first, signal.SIGSTOP)
    until(supervisor, lambda: (how, "restarted after fall 1", True) in told)
    assert told[0][1].startswith("gave no sign of life for ")
    assert told[0][1].endswith(" s and was ended; starting again in 0.1 s")
    assert not psutil.pid_exists(first)


def test_a_worker_that_asked_for_patience_is_let_alone(start):
    worker = Worker("slow", f"{__name__}:slow", (), patience_s=0.4)
    supervisor, told = start(worker)
    at = 64 * (worker.run.row + 1)
    until(supervisor, lambda: supervisor._segment.words[at + 1])
    until(supervisor, lambda: not supervisor._segment.words[at + 1])
    assert told == []


def test_a_supervisor_that_was_itself_held_up_blames_nobody(start):
    worker = Worker("stay", f"{__name__}:stay", (), patience_s=0.5)
    supervisor, told = start(worker)
    until(supervisor, lambda: supervisor._segment.words[64 * (worker.run.row + 1)])
    os.kill(supervisor.pids()["stay"], signal.SIGSTOP)  # both were held up: a laptop's lid, a debugger
    time.sleep(1.0)
    supervisor.check()
    os.kill(supervisor.pids()["stay"], signal.SIGCONT)
    until(supervisor, lambda: worker.run.silent_s == 0.0)
    assert told == []


def test_an_understudy_takes_over_at_once_and_gets_one_of_its_own(start, tmp_path):
    path = tmp_path / "begun.txt"
    worker = Worker("play", f"{__name__}:play", (str(path),), 5.0, understudied=True)
    supervisor, told = start(worker)
    for turn in range(3):
        until(supervisor, lambda: supervisor.understudies() and path.exists())
        waits = supervisor.understudies()["play"]
        os.kill(supervisor.pids()["play"], signal.SIGKILL)
        until(supervisor, lambda begun=turn + 2: len(path.read_text().splitlines()) == begun)
        assert supervisor.pids()["play"] == waits
        assert int(path.read_text().splitlines()[-1].split()[0]) == waits, "who stood by began, nobody else"
    assert told == [("play", "ended with code -9", False), ("play", "its understudy has taken over", True)] * 3


def test_an_understudy_that_dies_unseen_is_replaced_and_nobody_is_told(start, tmp_path):
    path = tmp_path / "begun.txt"
    worker = Worker("play", f"{__name__}:play", (str(path),), 5.0, understudied=True)
    supervisor, told = start(worker)
    until(supervisor, supervisor.understudies)
    os.kill(supervisor.understudies()["play"], signal.SIGKILL)
    until(supervisor, lambda: not supervisor.understudies())
    until(supervisor, supervisor.understudies, 30.0)
    assert told == []
    assert len(path.read_text().splitlines()) == 1


def test_an_understudy_whose_supervisor_is_gone_does_not_begin(start, tmp_path):
    path = tmp_path / "begun.txt"
    worker = Worker("play", f"{__name__}:play", (str(path),), 5.0, understudied=True)
    supervisor, _ = start(worker)
    until(supervisor, lambda: supervisor.understudies() and path.exists())
    understudy = psutil.Process(supervisor.understudies()["play"])
    worker.understudy.cue.close()  # as the system does with the pipes of a process that was killed
    worker.understudy.cue = None
    wait_for(lambda: not understudy.is_running() or understudy.status() == psutil.STATUS_ZOMBIE, 20)
    assert len(path.read_text().splitlines()) == 1


def test_what_falls_again_and_again_is_suspected_of_what_was_asked_last(start):
    suspected = []
    supervisor, told = start(Worker("fall", f"{__name__}:fall", ()), suspect=suspected.append)
    until(supervisor, lambda: len(told) >= 5)
    assert suspected == ["fall"]


def test_a_process_that_the_system_does_not_start_ends_nothing_and_is_tried_again(start, monkeypatch, tmp_path):
    path = tmp_path / "begun.txt"
    worker = Worker("play", f"{__name__}:play", (str(path),), 5.0, understudied=True)
    supervisor, told = start(worker, Worker("stay", f"{__name__}:stay", ()))
    until(supervisor, supervisor.understudies)
    monkeypatch.setattr("vjserver.runtime.supervisor.BACKOFF_S", (0.1, 0.2, 0.3, 0.4, 0.5))

    def refused(*_):
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, "_process", refused)
        for name in ("play", "stay"):
            os.kill(supervisor.pids()[name], signal.SIGKILL)
        until(supervisor, lambda: any("the system starts no process now" in why for _, why, _ in told))
        assert "play" in supervisor.pids(), "its understudy was there"
    until(supervisor, lambda: "stay" in supervisor.pids() and supervisor.understudies())


def test_no_two_processes_share_a_row_however_often_one_falls(start):
    fallen = Worker("fall", f"{__name__}:fall", ())
    supervisor, _ = start(Worker("stay", f"{__name__}:stay", (), 5.0), fallen)
    supervisor._silent_s = lambda *_: 0.0
    for _ in range(70):  # more than there are rows
        run = supervisor._spawned(supervisor.workers[0], waits=False)
        assert run.row not in {one.row for one in supervisor._running()}
        run.process.kill()
        run.process.join()


def test_what_hangs_again_and_again_is_suspected_too_however_long_its_patience(start):
    suspected = []
    worker = Worker("stuck", f"{__name__}:stuck", (), patience_s=0.6)
    supervisor, told = start(worker, suspect=suspected.append)
    until(supervisor, lambda: suspected, 30.0)
    assert suspected == ["stuck"]
    assert sum("gave no sign of life" in why for _, why, _ in told) >= 2


def test_a_word_left_in_any_script_is_told(start):
    supervisor, told = start(Worker("say", f"{__name__}:say", ("ü" * 600,)))
    until(supervisor, lambda: told)
    assert told[0][1].startswith("ended with code 1: üüü")


def say(text, life):
    """A worker that falls with a text."""
    raise VJError(text)


def wait_a_while(supervisor):
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        supervisor.check()
        time.sleep(0.02)


def test_one_that_is_wished_for_runs_while_it_is(start, tmp_path):
    supervisor, told = start(
        Worker("always", f"{__name__}:stay", ()), Worker("wished", f"{__name__}:stay", (), 1.0, wish=3)
    )
    wait_a_while(supervisor)
    assert list(supervisor.pids()) == ["always"]
    segment = supervisor._segment
    segment.words[3] = 1
    until(supervisor, lambda: "wished" in supervisor.pids())
    first = supervisor.pids()["wished"]
    os.kill(first, signal.SIGKILL)
    until(supervisor, lambda: supervisor.pids().get("wished", first) != first)
    segment.words[3] = 0
    until(supervisor, lambda: "wished" not in supervisor.pids())
    assert "always" in supervisor.pids()
    assert [(why, recovered) for _, why, recovered in told][1:] == [
        ("restarted after fall 1", True), ("it is not needed any more", True),
    ]  # fmt: skip
    segment.words[3] = 1
    until(supervisor, lambda: "wished" in supervisor.pids())
    assert len(told) == 3  # that it begins, and ends, is nothing to announce
    segment.words[3] = 0
    supervisor.check()
    segment.words[3] = 1  # wished for again before it has ended: that is no fall
    second = supervisor.pids()["wished"]
    until(supervisor, lambda: supervisor.pids().get("wished", second) != second)
    assert len(told) == 3


def test_one_that_is_deaf_is_ended_when_nobody_wishes_for_it(start):
    supervisor, _ = start(Worker("wished", f"{__name__}:deaf", (), wish=3))
    supervisor._segment.words[3] = 1
    until(supervisor, lambda: "wished" in supervisor.pids())
    wait_a_while(supervisor)
    supervisor._segment.words[3] = 0
    until(supervisor, lambda: "wished" not in supervisor.pids())
