"""Transports, numpy to numpy at 60 frames a second, sender and receiver in processes of their own.

Each of ours is measured in turns with a bare loop of the same library (a copy for shared memory), so that what else
the machine does falls on both. Ages are those of a frame when the receiver has it as an array; CPU is that of both
processes, for each frame.
"""

import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq

from bench.report import percentiles, row, server
from vjserver.inputs.ndi import NdiInput, NdiInputOptions
from vjserver.inputs.sharedmem import SharedMemoryInput, SharedMemoryInputOptions
from vjserver.inputs.zmq import ZmqInput, ZmqInputOptions
from vjserver.outputs.ndi import NdiOptions, NdiOutput
from vjserver.outputs.sharedmem import SharedMemoryOptions, SharedMemoryOutput
from vjserver.outputs.zmq import ZmqOptions, ZmqOutput
from vjserver.ports import Input, Output, Sending
from vjserver.rendering.input_thread import InputThread
from vjserver.runtime import shared
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.ring import RingReader, RingWriter
from vjserver.runtime.status import DeliverStatus, StatusReader, plain
from vjserver.runtime.store import Channels
from vjserver.stages.deliver.output_thread import OutputThread
from vjserver.types.frames import Frame, FrameInfo

FPS = 60
SECONDS = 4.0
ROUNDS = 3
SIZES = ((512, 512), (1920, 1080))
TORN_FRAMES = 100_000
spawn = multiprocessing.get_context("spawn")


def main() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for width, height in SIZES:
        rows += _copies(width, height)
        for ours, bare in TRANSPORTS:
            rows += _pair(ours, bare, width, height)
        rows += _slow_consumer(width, height)
    rows += _send_cost() + _torn() + _restarts() + _live() + _flow_cost()
    return rows


# -- senders and receivers ---------------------------------------------------------------------------------------


@dataclass
class Transport:
    """How one transport is sent and received: ``send(place)`` and ``receive(place)`` make either end."""

    name: str
    send: Callable[[str], Output]
    receive: Callable[[str], Input]
    place: Callable[[], str]


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _tcp() -> str:
    return f"tcp://127.0.0.1:{_port()}"


def _ipc() -> str:
    return f"ipc://{tempfile.gettempdir()}/vj-bench-{uuid.uuid4().hex[:8]}"


def _name() -> str:
    return f"b{uuid.uuid4().hex[:8]}"


class BareZmqOutput:
    """Header and pixels in one message, as the guide to pyzmq does it."""

    def __init__(self, address: str) -> None:
        self._address = address

    def open(self) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.bind(self._address)

    def send(self, frame: Frame) -> None:
        message = np.empty(128 + frame.pixels.nbytes, np.uint8)
        message[:128] = np.frombuffer(frame.info.pack(), np.uint8)
        message[128:] = frame.pixels.reshape(-1)
        self._socket.send(message.data, copy=False)

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


class BareZmqInput:
    def __init__(self, address: str) -> None:
        self._address = address

    def open(self) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(self._address)

    def read(self, wait_s: float) -> Frame | None:
        if not self._socket.poll(round(wait_s * 1e3)):
            return None
        data = self._socket.recv(copy=False).buffer
        info = FrameInfo.unpack(data)
        return Frame(np.frombuffer(data, np.uint8, offset=128).reshape(info.height, info.width, 4), info)

    def close(self) -> None:
        self._socket.close(0)


class BareNdiOutput:
    """NDIlib's own example: UYVY by OpenCV, sent asynchronously from two buffers."""

    def __init__(self, name: str) -> None:
        self._name = name

    def open(self) -> None:
        import NDIlib

        self._ndi = NDIlib
        NDIlib.initialize()
        create = NDIlib.SendCreate()
        create.ndi_name, create.clock_video, create.clock_audio = self._name, False, False
        self._sender = NDIlib.send_create(create)
        self._buffers: list[Any] = []
        self._turn = 0

    def send(self, frame: Frame) -> None:
        height, width = frame.pixels.shape[:2]
        if not self._buffers:
            self._buffers = [np.empty((height, width, 2), np.uint8) for _ in range(2)]
        self._turn ^= 1
        buffer = self._buffers[self._turn]
        cv2.cvtColor(frame.pixels, cv2.COLOR_RGBA2YUV_UYVY, dst=buffer)
        video = self._ndi.VideoFrameV2()
        video.data, video.FourCC = buffer, self._ndi.FOURCC_VIDEO_TYPE_UYVY
        video.xres, video.yres, video.line_stride_in_bytes = width, height, width * 2
        video.frame_rate_N, video.frame_rate_D = FPS, 1
        video.frame_format_type = self._ndi.FRAME_FORMAT_TYPE_PROGRESSIVE
        video.metadata = f'<t sent="{frame.info.t_sent_ns}" frame="{frame.info.frame_id}"/>'
        self._ndi.send_send_video_async_v2(self._sender, video)

    def close(self) -> None:
        self._ndi.send_destroy(self._sender)


class BareNdiInput:
    def __init__(self, name: str) -> None:
        self._name = name

    def open(self) -> None:
        import NDIlib

        self._ndi = NDIlib
        NDIlib.initialize()
        where = NDIlib.FindCreate()
        where.extra_ips = "127.0.0.1"
        self._finder = NDIlib.find_create_v2(where)
        self._receiver: Any = None

    def read(self, wait_s: float) -> Frame | None:
        if self._receiver is None:
            found = self._ndi.find_get_current_sources(self._finder) or []
            source = next((s for s in found if f"({self._name})" in s.ndi_name), None)
            if source is None:
                time.sleep(wait_s)
                return None
            create = self._ndi.RecvCreateV3()
            create.color_format = self._ndi.RECV_COLOR_FORMAT_RGBX_RGBA
            create.allow_video_fields = False
            self._receiver = self._ndi.recv_create_v3(create)
            self._ndi.recv_connect(self._receiver, source)
        kind, video, _, _ = self._ndi.recv_capture_v2(self._receiver, round(wait_s * 1e3), want_audio=False)
        if kind != self._ndi.FRAME_TYPE_VIDEO:
            return None
        pixels = np.array(video.data, np.uint8)
        told = video.metadata.split('"')
        self._ndi.recv_free_video_v2(self._receiver, video)
        info = FrameInfo(pixels.shape[1], pixels.shape[0], frame_id=int(told[3]), t_sent_ns=int(told[1]))
        return Frame(pixels, info)

    def close(self) -> None:
        if self._receiver is not None:
            self._ndi.recv_destroy(self._receiver)


RING = Transport(
    "sharedmem",
    lambda place: SharedMemoryOutput(SharedMemoryOptions(stream=place)),
    lambda place: SharedMemoryInput(SharedMemoryInputOptions(stream=place)),
    _name,
)
JPEG = Transport(
    "zmq tcp, jpeg",
    lambda place: ZmqOutput(ZmqOptions(address=place, encoding="jpeg")),
    lambda place: ZmqInput(ZmqInputOptions(address=place)),
    _tcp,
)


def _zmq(name: str, place: Callable[[], str]) -> tuple[Transport, Transport]:
    ours = Transport(
        name,
        lambda place: ZmqOutput(ZmqOptions(address=place)),
        lambda place: ZmqInput(ZmqInputOptions(address=place)),
        place,
    )
    return ours, Transport(f"{name}, bare pyzmq", BareZmqOutput, BareZmqInput, place)


def _ndi(colour: str) -> Transport:
    return Transport(
        f"ndi {colour}",
        lambda place: NdiOutput(NdiOptions.model_validate({"name": place, "colour": colour})),
        lambda place: NdiInput(NdiInputOptions(name=place)),
        _name,
    )


TRANSPORTS: list[tuple[Transport, Transport | None]] = [
    (RING, None),
    *([_zmq("zmq ipc", _ipc)] if os.name != "nt" else []),
    _zmq("zmq tcp", _tcp),
    (JPEG, None),
    (_ndi("uyvy"), Transport("ndi uyvy, bare NDIlib", BareNdiOutput, BareNdiInput, _name)),
    (_ndi("bgrx"), None),
]
BY_NAME = {t.name: t for pair in TRANSPORTS for t in pair if t is not None}


def _picture(width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return something like a picture: what is noise to the eye is noise to an encoder."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * x + 5 * np.sin(7 * y + i)) for i in range(3)]
    pixels = np.full((height, width, 4), 255, np.uint8)
    for i, wave in enumerate(waves):
        pixels[..., i] = np.rint(127 + 120 * wave)
    return pixels


def _sender(name: str, place: str, size: tuple[int, int], stop: Any, out: Any) -> None:
    """Send at 60 frames a second until ``stop``; put CPU time and count into ``out``."""
    output = BY_NAME[name].send(place)
    output.open()
    pixels, count, clock = _picture(*size), 0, LiveClock()
    began, slot_ns = time.process_time(), clock.now_ns()
    while not stop.is_set():
        clock.sleep_until(slot_ns)
        slot_ns = max(slot_ns + 10**9 // FPS, clock.now_ns() - 10**9 // FPS)
        count += 1
        pixels[:8, :8] = count % 256
        now_ns = clock.now_ns()
        info = FrameInfo(size[0], size[1], count, now_ns, now_ns, now_ns, data_size=pixels.nbytes)
        output.send(Frame(pixels, info))
    out.put((time.process_time() - began, count))
    output.close()


@dataclass
class Seen:
    """What a receiver saw."""

    ages: list[float] = field(default_factory=list)
    frames: int = 0
    cpu_s: float = 0.0
    sent: int = 0


@contextlib.contextmanager
def _sending(name: str, place: str, size: tuple[int, int]) -> Iterator[Any]:
    stop, out = spawn.Event(), spawn.Queue()
    process = spawn.Process(target=_sender, args=(name, place, size, stop, out), daemon=True)
    process.start()
    told: dict[str, Any] = {"process": process}
    try:
        yield told
    finally:
        stop.set()
        with contextlib.suppress(Exception):
            told["cpu_s"], told["sent"] = out.get(timeout=5)
        process.join(5)
        if process.is_alive():
            process.kill()


def _once(transport: Transport, width: int, height: int) -> Seen:
    """Receive for a while."""
    place, seen = transport.place(), Seen()
    with _sending(transport.name, place, (width, height)) as told:
        door = transport.receive(place)
        door.open()
        deadline = time.monotonic() + 20
        while door.read(0.1) is None and time.monotonic() < deadline:
            pass
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            door.read(0.1)
        began, until = time.process_time(), time.monotonic() + SECONDS
        while time.monotonic() < until:
            frame = door.read(0.1)
            if frame is None:
                continue
            assert frame.pixels.shape == (height, width, 4)
            seen.ages.append((time.perf_counter_ns() - frame.info.t_sent_ns) * 1e-6)
            seen.frames += 1
        seen.cpu_s = time.process_time() - began
        door.close()
    if told.get("sent"):
        seen.cpu_s += told["cpu_s"] * SECONDS * FPS / told["sent"]
    return seen


def _pair(ours: Transport, bare: Transport | None, width: int, height: int) -> list[dict[str, object]]:
    """Measure ours and the bare loop in turns; return a row each, and the ratio of their medians."""
    found: dict[str, Seen] = {}
    for _ in range(ROUNDS):
        for transport in (ours, bare) if bare is not None else (ours,):
            seen, total = _once(transport, width, height), found.setdefault(transport.name, Seen())
            total.ages += seen.ages
            total.frames += seen.frames
            total.cpu_s += seen.cpu_s
    size, rows = f"{width}x{height}", []
    for name, seen in found.items():
        cpu = round(1e3 * seen.cpu_s / max(seen.frames, 1), 2)
        rows.append(row("transport", f"{size} {name}", "ms", **percentiles(seen.ages), cpu_ms_a_frame=cpu))
    if bare is not None:
        ratio = np.median(found[ours.name].ages) / np.median(found[bare.name].ages)
        rows.append(row("transport", f"{size} {ours.name} over its bare loop", "x", p50=round(float(ratio), 3)))
    return rows


def _copies(width: int, height: int) -> list[dict[str, object]]:
    source = _picture(width, height)
    target, times = np.empty_like(source), []
    for _ in range(300):
        began = time.perf_counter()
        np.copyto(target, source)
        times.append((time.perf_counter() - began) * 1e3)
    return [row("transport", f"{width}x{height} bare copy", "ms", **percentiles(times))]


def _slow_consumer(width: int, height: int) -> list[dict[str, object]]:
    """Who looks at an input ten times a second must see pictures no older than one interval and the way."""
    rows = []
    for ours, _ in TRANSPORTS:
        place, ages = ours.place(), []
        with _sending(ours.name, place, (width, height)):
            thread = InputThread("bench", partial(_opened, ours, place), LiveClock(), lambda *_: None)
            deadline = time.monotonic() + 20
            while thread.newest is None and time.monotonic() < deadline:
                time.sleep(0.05)
            for _ in range(60):
                time.sleep(0.1 + 0.017 * np.random.default_rng().random())
                frame = thread.newest
                if frame is not None:
                    ages.append((time.perf_counter_ns() - frame.info.t_sent_ns) * 1e-6)
            thread.close()
            thread.join(2.0)
        what = f"{width}x{height} {ours.name}, looked at ten times a second"
        rows.append(row("transport", what, "ms", **percentiles(ages[10:])))
    return rows


def _opened(transport: Transport, place: str) -> Input:
    door = transport.receive(place)
    door.open()
    return door


# -- what a send costs, tearing, flow ------------------------------------------------------------------------------


class _Sink:
    def open(self) -> None:
        pass

    def send(self, frame: Frame) -> None:
        frame.pixels.sum(dtype=np.uint32)

    def close(self) -> None:
        pass


def _send_cost() -> list[dict[str, object]]:
    """What it costs who makes pictures: into the ring, and to an output's mailbox."""
    rows = []
    for width, height in SIZES:
        frame = Frame(_picture(width, height), FrameInfo(width, height))
        ring = RingWriter(_name(), frame.pixels.nbytes)
        thread = OutputThread("sink", _Sink, Sending(), LiveClock(), 1, lambda *_: None)
        for what, act in (("ring.put", ring.put), ("mailbox", partial(thread.offer, slot_ns=0))):
            times = []
            for _ in range(200):
                began = time.perf_counter()
                act(frame)
                times.append((time.perf_counter() - began) * 1e3)
                time.sleep(0.004)
            rows.append(row("transport", f"{width}x{height} cost of a send: {what}", "ms", **percentiles(times)))
        ring.close()
        thread.close()
    return rows


def _flood(name: str, stop: Any) -> None:
    ring, pixels, i = RingWriter(name, 256 * 256 * 4), np.empty((256, 256, 4), np.uint8), 0
    while not stop.is_set():
        i += 1
        pixels[:] = i % 256
        ring.put(Frame(pixels, FrameInfo(256, 256, frame_id=i)))
    ring.close()


def _torn() -> list[dict[str, object]]:
    """Read 100,000 frames from a writer that never waits; each must be of one piece."""
    name, stop = _name(), spawn.Event()
    process = spawn.Process(target=_flood, args=(name, stop), daemon=True)
    process.start()
    reader, seen, torn = RingReader(name), 0, 0
    began = time.monotonic()
    while seen < TORN_FRAMES and time.monotonic() - began < 120:
        frame = reader.get()
        if frame is not None:
            seen += 1
            torn += not (frame.pixels == frame.info.frame_id % 256).all()
    stop.set()
    process.join(5)
    reader.close()
    return [row("transport", "torn frames of those read", "frames", p50=torn, n=seen, retried=reader.torn)]


def _flow_cost() -> list[dict[str, object]]:
    from vjserver.stages.deliver.interpolation import Between

    rows = []
    for width, height in ((512, 512), (1280, 720)):
        for mode in ("repeat", "crossfade", "flow"):
            between = Between()
            between.mode = mode
            a, b = _picture(width, height), np.roll(_picture(width, height), 9, axis=1)
            takes, shows = [], []
            for i in range(30):
                began = time.perf_counter()
                between.take(Frame(a if i % 2 else b, FrameInfo(width, height)), i * 50_000_000)
                middle = time.perf_counter()
                between.at(i * 50_000_000 + 25_000_000)
                takes.append((middle - began) * 1e3)
                shows.append((time.perf_counter() - middle) * 1e3)
            rows.append(row("transport", f"{width}x{height} between pictures, {mode}: a new one", "ms",
                            **percentiles(takes[3:])))  # fmt: skip
            rows.append(row("transport", f"{width}x{height} between pictures, {mode}: a slot", "ms",
                            **percentiles(shows[3:])))  # fmt: skip
    return rows


# -- recovery ------------------------------------------------------------------------------------------------------


def _restarts() -> list[dict[str, object]]:
    """Kill a sender and start it again: from the new sender's first frame to the receiver's."""
    rows = []
    for name in ("sharedmem", "zmq tcp", "ndi uyvy"):
        transport, waits = BY_NAME[name], []
        place = transport.place()
        door = transport.receive(place)
        door.open()
        for life in range(4):
            with _sending(name, place, (512, 512)) as told:
                deadline, first_ns = time.monotonic() + 20, 0
                while time.monotonic() < deadline:
                    frame = door.read(0.05)
                    if frame is not None and frame.info.frame_id < 600 and (not life or frame.info.frame_id < 200):
                        now_ns = time.perf_counter_ns()
                        first_ns = frame.info.t_sent_ns - (frame.info.frame_id - 1) * 10**9 // FPS
                        break
                if life and first_ns:
                    waits.append((now_ns - first_ns) * 1e-9)
                for _ in range(20):
                    door.read(0.05)
                told["process"].kill()
            while door.read(0.05) is not None:
                pass
        door.close()
        if name == "sharedmem":
            shared.remove_by_name(f"vjserver-{place}")
        rows.append(row("transport", f"{name}: first frame of a sender that was killed and restarted", "s",
                        **percentiles(waits)))  # fmt: skip
    return rows


def _live() -> list[dict[str, object]]:
    """Measure a running show: how steadily it delivers, and what it costs to add an output and to kill a receiver."""
    rows: list[dict[str, object]] = []
    stream, port, address, what = _name(), _port(), _tcp(), "show 1280x720, pattern, NDI and ring"
    with tempfile.TemporaryDirectory() as folder:
        show = Path(folder) / "show.toml"
        show.write_text(
            f'outputs = [{{kind = "sharedmem", stream = "{stream}"}}, {{kind = "ndi", name = "{stream}"}}]\n'
            f'[source]\nkind = "click"\n[video]\nwidth = 1280\nheight = 720\n'
            f"[osc]\nport = {port}\ntargets = []\n[web]\non = false\n"
        )
        with server("run", str(show)) as run:
            time.sleep(12)
            board = StatusReader(Channels(f"vjs-{run.pid}").status("deliver"), DeliverStatus)
            reader = RingReader(f"vjserver-{stream}")
            begun = board.get()
            gaps = list(np.diff(_watched(reader, 10.0)) * 1e-6)
            rows.append(row("transport", f"{what}: between frames (16.67)", "ms", **percentiles(gaps)))
            command = [sys.executable, "-m", "vjserver", "frames", "watch", "ndi", f"name={stream}"]
            viewer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(4)
            said_ns = time.perf_counter_ns()
            _say(port, "/vj/output/add", "late", f"zmq address={address}")
            door = ZmqInput(ZmqInputOptions(address=address))
            door.open()
            while door.read(0.01) is None and time.perf_counter_ns() - said_ns < 10**10:
                pass
            took_s = (time.perf_counter_ns() - said_ns) * 1e-9
            rows.append(
                row("transport", "an output added live: first frame at its receiver", "s", p50=round(took_s, 3))
            )
            before = board.get()
            viewer.kill()
            viewer.wait()
            time.sleep(3.0)
            _say(port, "/vj/output/remove", "late")
            time.sleep(3.0)
            after = board.get()
            ring = [told.outputs["sharedmem"].drops + told.missed for told in (before, after)]
            name = "frames that the ring missed while a receiver of another output was killed and an output closed"
            n = after.ticks - before.ticks
            rows.append(row("transport", name, "frames", p50=ring[1] - ring[0], n=n))
            door.close()
            reader.close()
            time.sleep(10)
            ended = board.get()
    ticks, late = ended.ticks - begun.ticks, ended.late - begun.late
    missed = ended.missed - begun.missed
    rows.append(row("transport", f"{what}: a frame after its slot", "ms", **plain(ended.pacing)))
    share = round(100 * (1 - late / ticks), 2)
    rows.append(row("transport", f"{what}: frames within 2 ms of their slot", "%", p50=share, n=ticks, missed=missed))
    return rows


def _say(port: int, address: str, *args: str) -> None:
    from vjserver.runtime.osc import message

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(message(address, *args), ("127.0.0.1", port))


def _watched(reader: RingReader, seconds: float) -> list[int]:
    """Return when each frame was sent that the ring showed."""
    sent, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        frame = reader.wait(0.05)
        if frame is not None:
            sent.append(frame.info.t_sent_ns)
    return sent


if __name__ == "__main__":
    main()
