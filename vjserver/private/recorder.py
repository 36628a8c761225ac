"""The recorder of a private page: sound comes in pieces by POST and lies on the disk at once; or a whole file comes.

A piece has a number: one that came twice, since its answer was lost, is taken once.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vjserver.controls.web.asked import body_within, json_of, told, whole_of
from vjserver.keeping.recordings import RATE_HZ, Recordings, flac
from vjserver.speech.sound import Resampler16k
from vjserver.types.audio import Float32
from vjserver.types.errors import ConfigError, VJError

MOST_PIECE, MOST_FILE = 1 << 20, 512 << 20
RATES = (8000, 192000)
MOST_OPEN = 4
LEFT_S = 20.0
"""A page that sent nothing for so long is gone: what it recorded is kept."""
Taken = Callable[[bytes, float, Mapping[str, str]], object]
"""Takes a recording: a FLAC file, its length in seconds, and what the page asked with; returns what is answered."""


class _Open:
    """A recording that goes on."""

    def __init__(self, rate: int, asked: Mapping[str, str]) -> None:
        self.resampler, self.next, self.asked, self.lock = Resampler16k(rate), 0, asked, asyncio.Lock()
        self.heard_s = time.monotonic()


class Recorder:
    """Routes ``PATH/sound`` and ``PATH/file``.

    ``read`` returns the sound of a file, mono at 16 kHz, or raises VJError. ``taken`` may take long: it gets a thread.
    ``check`` raises ConfigError for what a page asks with and cannot be, before anybody talks.
    """

    def __init__(
        self,
        path: str,
        recordings: Recordings,
        taken: Taken,
        read: Callable[[Path], Float32],
        check: Callable[[Mapping[str, str]], object] = dict,
    ) -> None:
        self._path, self._recordings, self._taken, self._read, self._check = path, recordings, taken, read, check
        self._open: dict[str, _Open] = {}
        self._files, self._again_s = asyncio.Semaphore(1), 0.0

    def routes(self) -> list[Route]:
        """Return what is to be served."""
        return [
            Route(f"{self._path}/sound", told(self._sound), methods=["POST"]),
            Route(f"{self._path}/file", told(self._file), methods=["POST"]),
        ]

    async def _sound(self, request: Request) -> Response:
        name, rate, number = request.query_params.get("name", ""), whole_of(request, "rate"), whole_of(request, "piece")
        ends = bool(whole_of(request, "ends"))
        body = await body_within(request, MOST_PIECE)
        if len(body) % 2 or not RATES[0] <= rate <= RATES[1]:
            raise ConfigError(
                f"a piece is 16-bit samples at {RATES[0]}..{RATES[1]} Hz: got {len(body)} bytes, {rate} Hz"
            )
        if name not in self._open:
            if number:
                raise ConfigError("this recording was not begun here: it was ended, or the server was started anew")
            if len(self._open) >= MOST_OPEN:
                raise ConfigError(f"{MOST_OPEN} recordings go on already: end one of them")
            asked = {key: value[:60] for key, value in request.query_params.items()}
            self._recordings.check(name)
            await asyncio.to_thread(self._check, asked)
            await asyncio.to_thread(self._recordings.describe, name, asked)
            self._open[name] = _Open(rate, asked)
        one = self._open[name]
        async with one.lock:
            if number < one.next:
                return json_of({})
            if number > one.next:
                raise ConfigError(f"piece {one.next} of this recording is missing: got {number}")
            sound = one.resampler(np.frombuffer(body, "<i2").astype(np.float32) / 32768.0, last=ends)
            seconds = await asyncio.to_thread(self._recordings.add, name, sound)
            one.next, one.heard_s = one.next + 1, time.monotonic()
            if not ends:
                return json_of({"seconds": seconds})
            answer = await asyncio.to_thread(self._end, name, one.asked)  # where that fails, it is tried again later
            self._open.pop(name, None)
            return json_of(answer)

    async def take_over(self) -> None:
        """Keep what pages that are gone, and servers that were killed, have recorded."""
        for name, one in list(self._open.items()):
            if time.monotonic() - one.heard_s > LEFT_S:
                del self._open[name]
                await self._kept(name, one.asked)
        if time.monotonic() < self._again_s:
            return
        self._again_s = time.monotonic() + LEFT_S
        for name in await asyncio.to_thread(self._recordings.take_over, tuple(self._open)):
            await self._kept(name, await asyncio.to_thread(self._recordings.asked, name))

    async def _kept(self, name: str, asked: Mapping[str, str]) -> None:
        with contextlib.suppress(VJError):  # no sound in it; or a full disk, on which it stays as it is
            await asyncio.to_thread(self._end, name, asked)

    def _end(self, name: str, asked: Mapping[str, str]) -> object:
        """Hand on a recording that has ended; it is removed when somebody has it."""
        data, seconds = self._recordings.whole(name)
        answer = self._taken(data, seconds, asked)
        self._recordings.drop(name)
        return answer

    async def _file(self, request: Request) -> Response:
        """Take a voice memo, of any kind that can be read."""
        await asyncio.to_thread(self._check, dict(request.query_params))
        async with self._files:
            with tempfile.TemporaryDirectory(prefix="vjserver-memo-") as folder:
                path = Path(folder) / "memo"
                with path.open("wb") as file:
                    count = 0
                    async for piece in request.stream():
                        count += len(piece)
                        if count > MOST_FILE:
                            raise ConfigError(f"a recording has at most {MOST_FILE >> 20} MiB")
                        file.write(piece)
                sound = await asyncio.to_thread(self._read, path)
        if not len(sound):
            raise ConfigError("this file holds no sound")
        data = await asyncio.to_thread(flac, sound)
        return json_of(await asyncio.to_thread(self._taken, data, len(sound) / RATE_HZ, dict(request.query_params)))
