"""Pictures from an NDI source: TouchDesigner's NDI Out TOP, a camera, another vjserver.

A frame synchroniser stands between: it always gives the newest picture, where NDI's own queue would hand a slow taker
old ones. See ``runtime.ndi`` for the licence.
"""

import re
import time
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime import ndi
from vjserver.types.errors import InputError, VJError
from vjserver.types.frames import Frame, FrameInfo

LOOK_S = 0.5
STEP_S = 0.0005
EARLY = 0.8
"""The part of the usual time between pictures that is slept before the next one is looked for, again and again."""
LOST_S = 1.5
"""A source that brought nothing for so long is looked for anew: it may have come back under another port."""
_FIELD = re.compile(r'(\w+)="([^"]*)"')


class NdiInputOptions(BaseModel):
    """Whom we receive, and where to look besides the local network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        min_length=1, max_length=250, description="the sender's name: `wall`, or `MACHINE (wall)` in full"
    )
    extra_ips: str = Field("", description="machines to ask directly, comma-separated, where mDNS does not reach")
    address: str = Field("", description="HOST:PORT of the sender: connects without looking")


class NdiInput:
    """Receives one sender; it may come, go and come back."""

    Options = NdiInputOptions

    def __init__(self, options: NdiInputOptions) -> None:
        self._o = options
        self._ndi: Any = None
        self._finder: ndi.Finder | None = None
        self._receiver: Any = None
        self._sync: Any = None
        self._seen = (-1, -1)
        self._look_s = self._lost_s = 0.0
        self._count = 0
        self._came_s, self._every_s = 0.0, 1 / 60

    def open(self) -> None:
        """Begin to look. Raises InputError when NDI's library is missing."""
        try:
            self._ndi = ndi.load()
            self._finder = ndi.Finder(self._o.extra_ips)
        except VJError as error:
            raise InputError(str(error)) from None

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture if there is another since the last call, else None."""
        deadline = time.monotonic() + wait_s
        while True:
            if self._sync is None:
                self._connect()
            frame = self._newest() if self._sync is not None else None
            left_s = deadline - time.monotonic()
            if frame is not None or left_s <= 0.0:
                return frame
            time.sleep(min(left_s, self._pause_s()))

    def close(self) -> None:
        """Let go of the sender."""
        self._disconnect()
        if self._finder is not None:
            self._finder.close()
            self._finder = None

    def _pause_s(self) -> float:
        """Return how long to wait before the next look: long while no picture is due, short when one is."""
        if self._sync is None:
            return 0.02
        due_s = self._came_s + EARLY * self._every_s
        overdue_s = time.monotonic() - due_s
        if overdue_s < 0.0:
            return max(-overdue_s, STEP_S)
        return STEP_S if overdue_s < self._every_s else 0.005

    def _connect(self) -> None:
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        assert self._finder is not None
        source = self._finder.find(self._o.name)
        if source is None and self._o.address:
            source = self._ndi.Source()
            source.ndi_name, source.url_address = self._o.name, self._o.address
        if source is None:
            return
        create = self._ndi.RecvCreateV3()
        create.color_format = self._ndi.RECV_COLOR_FORMAT_RGBX_RGBA
        create.allow_video_fields = False
        self._receiver = self._ndi.recv_create_v3(create)
        self._ndi.recv_connect(self._receiver, source)
        self._sync = self._ndi.framesync_create(self._receiver)
        self._lost_s = now_s + LOST_S

    def _newest(self) -> Frame | None:
        """Return the synchroniser's picture if it is another one. One that has come to nothing is looked for anew."""
        video = self._ndi.framesync_capture_video(self._sync)
        try:
            told = (video.timestamp, video.timecode)
            if video.xres <= 0 or video.yres <= 0 or told == self._seen:
                fresh = None
            else:
                self._seen = told
                fresh = self._frame(video)
        finally:
            self._ndi.framesync_free_video(self._sync, video)
        now_s = time.monotonic()
        if fresh is not None:
            self._lost_s = now_s + LOST_S
            every_s, self._came_s = min(now_s - self._came_s, 0.1), now_s
            self._every_s += 0.1 * (every_s - self._every_s)
        elif now_s > self._lost_s and not self._ndi.recv_get_no_connections(self._receiver):
            self._disconnect()
        return fresh

    def _frame(self, video: Any) -> Frame:
        """Return a copy of a picture; what a vjserver told with it is kept: number and times of its own."""
        now_ns = time.perf_counter_ns()
        self._count += 1
        told = dict(_FIELD.findall(video.metadata)) if (video.metadata or "").startswith("<vj ") else {}
        pixels = np.array(video.data, np.uint8, copy=True)
        info = FrameInfo(
            video.xres,
            video.yres,
            frame_id=_whole(told.get("frame"), self._count),
            t_capture_ns=_whole(told.get("capture_ns"), now_ns),
            t_generated_ns=_whole(told.get("generated_ns"), now_ns),
            t_sent_ns=_whole(told.get("sent_ns"), now_ns),
            source_frame_id=_whole(told.get("source_frame"), 0),
            source_age_us=_whole(told.get("source_age_us"), 0),
            data_size=pixels.nbytes,
        )
        return Frame(pixels, info)

    def _disconnect(self) -> None:
        if self._sync is not None:
            self._ndi.framesync_destroy(self._sync)
            self._ndi.recv_destroy(self._receiver)
            self._sync = self._receiver = None
            self._seen = (-1, -1)


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else otherwise
