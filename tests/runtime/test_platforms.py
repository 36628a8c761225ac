"""What is done on Windows and macOS, proved here: the system is said to be another, and its modules are stand-ins."""

import asyncio
import ctypes
import importlib
import io
import os
import runpy
import signal
import socket
import sys
import types
from pathlib import Path

import psutil
import pytest
from conftest import free_port

from vjserver.app import preflight, run, web
from vjserver.app.show import Show
from vjserver.commands import doctor, outputs
from vjserver.controls import osctcp
from vjserver.controls.oscserver import OscServer
from vjserver.documents import fonts
from vjserver.generators.gan import convert
from vjserver.outputs import touchshm
from vjserver.recognisers import lexicon
from vjserver.runtime import files, priority, quiet, shared, supervisor
from vjserver.runtime.clock import LiveClock
from vjserver.sources import device
from vjserver.types.errors import ConfigError, DeviceError, OutputError


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")


@pytest.fixture
def mac(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")


def no_module(monkeypatch, name):
    """Have an import of a module fail, as where it does not exist."""
    monkeypatch.setitem(sys.modules, name, None)


# -- files ---------------------------------------------------------------------------------------------------


def held_for(monkeypatch, times):
    """Have a file be open elsewhere for so many tries; return the list of what was tried."""
    tried, real = [], os.replace

    def replace(source, target):
        tried.append(source)
        if len(tried) <= times:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(files, "AGAIN_S", 0.0)
    return tried


def test_a_file_that_a_scanner_holds_open_is_replaced_a_moment_later(windows, monkeypatch, tmp_path):
    path = tmp_path / "preset.toml"
    path.write_bytes(b"old")
    tried = held_for(monkeypatch, 3)
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(tried) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_stays_open_is_told_and_the_old_file_is_whole(windows, monkeypatch, tmp_path):
    path = tmp_path / "preset.toml"
    path.write_bytes(b"old")
    tried = held_for(monkeypatch, 10**6)
    with pytest.raises(OutputError, match="cannot be written"):
        files.put(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(tried) == files.TRIES
    assert list(tmp_path.iterdir()) == [path]


def test_elsewhere_nobody_waits_for_what_is_not_allowed(monkeypatch, tmp_path):
    tried = held_for(monkeypatch, 10**6)
    with pytest.raises(OutputError):
        files.put(tmp_path / "preset.toml", b"new")
    assert len(tried) == 1


@pytest.mark.parametrize("name", ["con", "NUL", "Aux", "prn", "COM1", "lpt9", " con "])
def test_no_file_is_called_as_windows_calls_a_device(name):
    slug = files.slug_of(name)
    assert slug == f"{name.strip().lower()}_"
    assert files.slug_of(slug) == slug


@pytest.mark.parametrize("name", ["console", "com10", "lpt", "nullum"])
def test_other_names_stay(name):
    assert files.slug_of(name) == name


def test_folders_with_spaces_and_other_letters_are_folders_like_any_other(monkeypatch, tmp_path):
    folder = tmp_path / "Zoë Müller Иван 山田" / "App Data"
    monkeypatch.setenv("VJSERVER_DATA", str(folder))
    path = files.data_folder() / "presets" / "my look.toml"
    files.write_whole(path, b"x")
    assert path.read_bytes() == b"x"
    assert files.set_aside(path).name == "my look.toml.bad"


# -- one server alone ----------------------------------------------------------------------------------------


def test_two_servers_on_one_port_are_told_apart_by_msvcrt(windows, monkeypatch, tmp_path):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    held = []

    def locking(fd, mode, count):
        assert (mode, count) == (2, 1)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0, "Windows locks from where the file stands"
        if held:
            raise PermissionError(13, "Permission denied")
        held.append(fd)

    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    no_module(monkeypatch, "fcntl")
    show = Show()
    with preflight.claim(show), pytest.raises(ConfigError, match="another vjserver is starting"):
        preflight.claim(show)


def test_no_limit_of_files_is_asked_for_where_there_is_none(windows, monkeypatch, tmp_path):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    no_module(monkeypatch, "resource")
    preflight.raise_limits()
    assert [what for what, _ in preflight.remarks()] == []


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_a_port_is_ours_alone_on_windows_and_free_at_once_elsewhere(monkeypatch, platform):
    """SO_REUSEADDR means "take it from whoever has it" on Windows, and "it may still be in TIME_WAIT" elsewhere."""
    monkeypatch.setattr(sys, "platform", platform)
    with web._bound("127.0.0.1", 0) as bound:
        reuses = bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
    assert reuses == (platform != "win32")


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_osc_over_tcp_does_the_same(monkeypatch, platform):
    asked = []

    async def opened():
        server = OscServer(lambda *_: 0, lambda _why: None, lambda: None)
        loop = asyncio.get_running_loop()
        real = loop.create_server

        async def create(*args, **options):
            asked.append(options["reuse_address"])
            return await real(*args, **options)

        monkeypatch.setattr(loop, "create_server", create)
        await server.open_tcp("127.0.0.1", free_port())
        server.close()

    monkeypatch.setattr(sys, "platform", platform)
    asyncio.run(opened())
    assert asked == [platform != "win32"]


def test_who_holds_a_port_is_asked_without_taking_it(windows):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert preflight._holder(taken.getsockname()[1], "tcp", "127.0.0.1") != 0
    assert preflight._holder(free_port(), "tcp", "127.0.0.1") == 0


def test_a_lost_connection_is_looked_for_with_what_the_system_has(monkeypatch):
    """macOS has no TCP_KEEPIDLE."""
    monkeypatch.delattr(socket, "TCP_KEEPIDLE", raising=False)
    with socket.socket() as one:
        osctcp.keep_alive(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# -- processes -----------------------------------------------------------------------------------------------


class Process:
    def __init__(self):
        self.asked = []

    def nice(self, value=None):
        self.asked.append(value)
        return 5


def test_priorities_are_classes_on_windows(windows, monkeypatch):
    process = Process()
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(psutil, "ABOVE_NORMAL_PRIORITY_CLASS", "above", raising=False)
    monkeypatch.setattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", "below", raising=False)
    priority.raise_priority(3)
    priority.raise_priority(-10)
    assert process.asked == ["above", "below"]


def test_and_nice_levels_elsewhere(mac, monkeypatch):
    process = Process()
    monkeypatch.setattr(psutil, "Process", lambda: process)
    priority.raise_priority(3)
    assert process.asked == [None, 2]


def test_a_punctual_thread_is_time_critical_on_windows(windows, monkeypatch):
    told = []
    kernel = types.SimpleNamespace(
        GetCurrentThread=lambda: "this", SetThreadPriority=lambda thread, level: told.append((thread, level))
    )
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("that is Linux'"))
    priority.be_punctual()
    assert told == [("this", 15)]


def test_on_a_mac_no_scheduler_is_asked(mac, monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("that is Linux'"))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: pytest.fail("mallopt is glibc's"))
    priority.be_punctual()
    priority.give_memory_back()


def test_signals_are_held_back_only_where_they_can_be(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask")
    with supervisor._signals_held():
        pass


def test_a_process_that_is_spawned_imports_us_without_running_anything():
    """``spawn`` imports the main module anew, by the name ``__mp_main__``."""
    main = importlib.util.find_spec("vjserver.__main__").origin
    assert "main" in runpy.run_path(main, run_name="__mp_main__")


def test_converting_leaves_linux_tricks_alone(windows, monkeypatch, tmp_path):
    monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: pytest.fail("that is Linux'"))
    convert._give_up_network()
    convert._end_with_parent()
    no_module(monkeypatch, "resource")
    convert._bound(tmp_path)


def test_one_clock_that_ticks_finely_everywhere():
    """Windows' ``monotonic`` ticks in 15.6 ms; ``perf_counter`` does not."""
    import time

    clock = LiveClock()
    before, now, after = time.perf_counter_ns(), clock.now_ns(), time.perf_counter_ns()
    assert before <= now <= after
    assert time.get_clock_info("perf_counter").resolution <= 1e-6


# -- memory, terminals ---------------------------------------------------------------------------------------


def test_memory_is_made_where_room_cannot_be_asked_for_beforehand(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    segment = shared.create(f"vjt-plat-{os.getpid()}", 4096)
    assert bytes(segment.buf[:8]) == bytes(8)
    shared.remove(segment)


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_standard_error_is_left_alone_but_on_linux(monkeypatch, platform):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", platform)
        patch.setattr(os, "dup2", lambda *_: pytest.fail("it was turned away"))
        with quiet.quiet_stderr():
            pass


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("platform", "said"), [("win32", ""), ("linux", "\x1b[?25h"), ("darwin", "\x1b[?25h")])
def test_the_cursor_comes_back_where_a_terminal_understands_it(monkeypatch, platform, said):
    terminal = Terminal()
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys, "__stdout__", terminal)
    run._show_cursor()
    assert terminal.getvalue() == said


# -- what is found where -------------------------------------------------------------------------------------


def test_fonts_are_looked_for_where_each_system_has_them(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("WINDIR", "D:/Windows")
    assert Path("D:/Windows/Fonts") in fonts.folders()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Path("/System/Library/Fonts") in fonts.folders()
    assert Path("/Library/Fonts") in fonts.folders()


def test_dictionaries_are_the_users_own_on_windows(windows):
    assert lexicon.dictionary_folders() == [files.data_folder() / "dictionaries"]


@pytest.mark.parametrize(
    ("platform", "names"), [("win32", ["Spout"]), ("darwin", ["Syphon"]), ("linux", [])], ids=["win", "mac", "linux"]
)
def test_the_doctor_looks_for_what_shares_textures_there(monkeypatch, platform, names):
    monkeypatch.setattr(sys, "platform", platform)
    assert [check.name for check in doctor._textures()] == names


@pytest.mark.parametrize(("platform", "apt"), [("win32", False), ("darwin", False), ("linux", True)])
def test_no_apt_is_named_where_there_is_none(monkeypatch, platform, apt):
    monkeypatch.setattr(sys, "platform", platform)
    no_module(monkeypatch, "NDIlib")
    assert ("apt" in doctor._ndi().remedy) == apt


@pytest.mark.parametrize(("platform", "package"), [("win32", "triton-windows"), ("linux", "install triton")])
def test_triton_is_called_differently_on_windows(monkeypatch, platform, package):
    monkeypatch.setattr(sys, "platform", platform)
    try:
        assert package in importlib.reload(doctor).TRITON
    finally:
        monkeypatch.undo()
        importlib.reload(doctor)


@pytest.mark.parametrize(("platform", "said"), [("win32", "works"), ("darwin", "Windows only")])
def test_touchshm_says_where_it_works(monkeypatch, platform, said):
    monkeypatch.setattr(sys, "platform", platform)
    assert outputs._here("touchshm") == said


def test_its_mutex_is_windows_own(windows, monkeypatch):
    asked = []

    class Call:
        def __init__(self, name, result):
            self.name, self.result = name, result

        def __call__(self, *args):
            asked.append((self.name, args))
            return self.result

    kernel = types.SimpleNamespace(
        CreateMutexW=Call("create", 77), WaitForSingleObject=Call("wait", 0x80), ReleaseMutex=Call("release", 1),
        CloseHandle=Call("close", 1),
    )  # fmt: skip
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_a, **_k: kernel, raising=False)
    mutex = touchshm.named_mutex("TouchSHMx")
    with mutex.held(5) as held:
        assert held, "whose holder died is ours"
    mutex.close()
    assert [name for name, _ in asked] == ["create", "wait", "release", "close"]
    assert asked[0][1] == (None, False, "TouchSHMx")


# -- sound ---------------------------------------------------------------------------------------------------


def test_windows_hears_its_loudspeakers_through_pyaudiowpatch(windows, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyaudiowpatch", types.SimpleNamespace(PyAudio="patched"))
    assert device._library().PyAudio == "patched"
    no_module(monkeypatch, "pyaudiowpatch")
    assert device._library().__name__ == "pyaudio"


def test_elsewhere_it_is_not_looked_for(mac, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyaudiowpatch", types.SimpleNamespace(PyAudio="patched"))
    assert device._library().__name__ == "pyaudio"


@pytest.mark.parametrize(("platform", "remedy"), [("win32", "pyaudiowpatch"), ("darwin", "BlackHole")])
def test_who_wants_a_loopback_is_told_how_to_get_one_there(monkeypatch, platform, remedy):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(device.subprocess, "run", lambda *_a, **_k: pytest.fail("pactl is Linux'"))
    with pytest.raises(DeviceError, match=remedy):
        device.choose([device.Device(0, "default", 2, 48000, True, "Core Audio")], "loopback")


@pytest.mark.parametrize("names", [("SIGINT", "SIGHUP"), ("SIGINT",)], ids=["posix", "windows"])
def test_a_process_of_ours_leaves_to_the_parent_what_a_terminal_sends(monkeypatch, names):
    set_to = {}
    monkeypatch.setattr(supervisor.signal, "signal", lambda number, handler: set_to.update({number: handler}))
    expected = {getattr(signal, name): signal.SIG_IGN for name in names}
    if "SIGHUP" not in names:
        monkeypatch.delattr(signal, "SIGHUP")
    supervisor._leave_signals_to_the_parent()
    assert set_to == expected
