"""Before the show: is there room, are we alone, what is in the way? Each fault is a sentence with what to do about it.

What makes the show impossible raises; what only costs something is returned, to be announced while the show runs.
"""

import os
import shutil
import socket
import sys
from pathlib import Path
from typing import IO

import psutil

from vjserver.app.show import ZMQ_ADDRESS, Show, filled, free_base
from vjserver.runtime import shared
from vjserver.runtime.files import data_folder
from vjserver.runtime.ring import ring_owner, ring_size
from vjserver.runtime.store import Channels
from vjserver.types.errors import ConfigError, VJError

FILES = 1024
LEAST_FILES = 200
SHM = Path("/dev/shm")
PAGE_BYTES = 640 * 360 * 4
SMALLER = ((1920, 1080), (1280, 720), (960, 540), (640, 360), (480, 270), (320, 180))


# -- alone -------------------------------------------------------------------------------------------------


def claim(show: Show) -> IO[str] | None:
    """Lock a file named after the OSC port while what is returned is open: of two servers that start at once, one may.

    Raises ConfigError where another vjserver has it; None where no such file can be made.
    """
    try:
        path = data_folder() / "running" / f"{show.osc.port}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError:
        return None
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if not isinstance(error, (BlockingIOError, PermissionError)):  # a file system without locks
            return None
        raise ConfigError(
            f"another vjserver is starting on port {show.osc.port} (OSC); end it, or run both at the same time: "
            f"--port-base {free_base(show)}"
        ) from None
    return file


def check_alone(show: Show) -> None:
    """Raise ConfigError where another vjserver holds what this one would need, naming it; another program may.

    What a foreign program holds is announced by who needs it, and tried again until it is free.
    """
    rows = [(f"port {show.osc.port} (OSC)", _holder(show.osc.port, "udp", show.osc.host))]
    if show.web.on:
        rows.append((f"port {show.web.port} (the panel)", _holder(show.web.port, "tcp", "127.0.0.1")))
    for config in show.outputs:
        door = filled(show, config)
        if door["kind"] == "zmq":
            host, _, port = str(door.get("address", ZMQ_ADDRESS)).rpartition(":")
            if host.startswith("tcp://") and port.isdigit():
                rows.append((f"port {port} (ZeroMQ)", _holder(int(port), "tcp", "127.0.0.1")))
        elif door["kind"] == "sharedmem":
            stream = door.get("stream", "program")
            rows.append((f"shared memory {stream!r}", ring_owner(f"vjserver-{stream}")))
    held = [(what, server) for what, pid in rows if pid and (server := server_of(pid))]
    if held:
        pid, base = held[0][1], free_base(show)
        what = ", ".join(what for what, _ in held)
        raise ConfigError(
            f"another vjserver is running here (process {pid}) and uses {what}; end it (kill {pid}), or run both "
            f"at the same time: --port-base {base}"
        )


def _holder(port: int, kind: str, host: str) -> int:
    """Return the process that holds a port, 0 where it is free or the system does not tell."""
    family = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, family) as probe:
        if kind == "tcp" and sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            pass
        else:
            return 0
    try:
        rows = psutil.net_connections(kind)
    except (psutil.Error, OSError):
        return 0
    held = [r for r in rows if r.laddr and r.laddr.port == port and r.status in ("LISTEN", "NONE")]
    return int(next((r.pid for r in held if r.pid), 0))


def server_of(pid: int) -> int:
    """Return the main process of the vjserver to which a process belongs, 0 for a foreign one."""
    try:
        process = psutil.Process(pid)
        for one in (process, *process.parents()[:3]):
            if _is_vjserver(one.cmdline()):
                return int(one.pid)
    except (psutil.Error, OSError):
        pass
    return 0


def _is_vjserver(line: list[str]) -> bool:
    words = line[:4]
    return any(Path(word).stem == "vjserver" for word in words[:2]) or ["-m", "vjserver"] in [
        words[i : i + 2] for i in range(len(words))
    ]


# -- room --------------------------------------------------------------------------------------------------


def needed_bytes(show: Show, width: int, height: int) -> int:
    """Return how much shared memory a show takes at a size: its pipes, and a ring for each use of the picture."""
    rings = 2 + len([config for config in show.outputs if config["kind"] == "sharedmem"])  # generated, frozen
    pipes = sum(Channels("").segments().values())
    page = ring_size(PAGE_BYTES) if show.web.on else 0
    return pipes + rings * ring_size(width * height * 4) + page


def check_room(show: Show) -> None:
    """Raise ConfigError where shared memory is missing or too small for this picture, with what would do."""
    try:
        shared.remove(shared.create(f"vjs-{os.getpid()}-probe", 4096))
    except (VJError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        where = f"{SHM} cannot be written" if SHM.is_dir() else "there is no shared memory"
        raise ConfigError(
            f"{where} ({why}); every picture goes through it: mount it writable (docker run --shm-size=512m)"
        ) from None
    if not SHM.is_dir():
        return
    free, video = shutil.disk_usage(SHM).free, show.video
    needed = needed_bytes(show, video.width, video.height)
    if needed <= free:
        return
    fitting = next((f"{w}x{h}" for w, h in SMALLER if needed_bytes(show, w, h) <= free), "")
    smaller = f", or --size {fitting}" if fitting else ""
    mib = -(-needed // 2**20)
    raise ConfigError(
        f"{video.width}x{video.height} needs {mib} MiB of shared memory and {SHM} has {free / 2**20:.0f} free; make it "
        f"larger (docker run --shm-size={mib + 64}m; mount -o remount,size={mib + 64}m {SHM}){smaller}"
    )


# -- what only costs something -----------------------------------------------------------------------------


def raise_limits() -> None:
    """Let this process, and those it starts, have as many files open as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def remarks() -> list[tuple[str, str]]:
    """Return what is in the way here and what it costs, as (what, why)."""
    found = []
    folder = data_folder()
    if not _is_writable(folder):
        lost = "so presets, snapshots, takes and the log are not saved"
        why = f"{folder} cannot be written, {lost}: change its permissions, or set VJSERVER_DATA"
        found.append(("your folder", why))
    if sys.platform != "win32":
        import resource

        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft < LEAST_FILES:
            why = f"the system allows only {soft} open files, too few for panels and NDI receivers: type ulimit -n 1024"
            found.append(("open files", why))
    return found


def _is_writable(folder: Path) -> bool:
    """Tell whether a folder, or the first of its parents that is there, may be written."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
