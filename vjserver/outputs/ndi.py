"""NDI: frames as an NDI source, found by name on the network or by ``127.0.0.1:5961`` without discovery.

NDI is 4:2:2 inside, so UYVY loses nothing that BGRX would keep and is the cheapest to encode; only RGBA carries alpha.
Each frame's timecode is the time at which it was generated, in units of 100 ns, and its metadata is one ``<vj .../>``
element. See ``runtime.ndi`` for the licence.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.outputs import uyvy
from vjserver.runtime import ndi
from vjserver.types.errors import OutputError, VJError
from vjserver.types.frames import Frame, FrameInfo, Pixels


class NdiOptions(BaseModel):
    """How the source is called and what it sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("vjserver", min_length=1, max_length=120)
    colour: Literal["uyvy", "bgrx", "rgba"] = Field("uyvy", description="rgba sends alpha too, at half as much again")
    fps: float = Field(60.0, gt=0.0, le=240.0, description="the rate that is declared; delivery paces the frames")


def metadata(info: FrameInfo) -> str:
    """Return a frame's header as the XML element that travels with it."""
    return (
        f'<vj frame="{info.frame_id}" capture_ns="{info.t_capture_ns}" generated_ns="{info.t_generated_ns}" '
        f'sent_ns="{info.t_sent_ns}" bpm="{info.bpm:.2f}" beat="{info.beat_index}" '
        f'beat_phase="{info.beat_phase:.4f}" bar_phase="{info.bar_phase:.4f}" seed="{info.seed}" '
        f'source_frame="{info.source_frame_id}" source_age_us="{info.source_age_us}"/>'
    )


class NdiOutput:
    """Sends frames by NDI."""

    Options = NdiOptions

    def __init__(self, options: NdiOptions) -> None:
        self._o = options
        self._ndi: Any = None
        self._sender: Any = None
        # The library holds the last buffer until the next send: two, taken in turns.
        self._buffers: list[Pixels] = []
        self._retired: list[Pixels] = []
        self._turn = 0

    def open(self) -> None:
        """Start the source. Raises OutputError when NDI's library is missing or refuses."""
        try:
            self._ndi = ndi.load()
        except VJError as error:
            raise OutputError(str(error)) from None
        if self._o.colour == "uyvy":
            uyvy.kernel()  # compiled now, not in the first frame
        create = self._ndi.SendCreate()
        create.ndi_name = self._o.name
        create.clock_video = False
        create.clock_audio = False
        self._sender = self._ndi.send_create(create)
        if not self._sender:
            raise OutputError(f"NDI refuses the sender name {self._o.name!r}; another program may have it")

    def send(self, frame: Frame) -> None:
        """Send one frame; returns before it is encoded."""
        height, width = frame.pixels.shape[:2]
        colour = "bgrx" if self._o.colour == "uyvy" and width % 2 else self._o.colour  # UYVY goes by pairs of pixels
        depth = 2 if colour == "uyvy" else 4
        if not self._buffers or self._buffers[0].shape != (height, width, depth):
            self._retired = self._buffers  # the library may still read one of them until the next send
            self._buffers = [np.empty((height, width, depth), np.uint8) for _ in range(2)]
        buffer = self._buffers[self._turn]
        self._turn ^= 1
        kinds = self._ndi
        if colour == "uyvy":
            uyvy.pack(frame.pixels, buffer)
            fourcc = kinds.FOURCC_VIDEO_TYPE_UYVY
        elif colour == "bgrx":
            cv2.cvtColor(frame.pixels, cv2.COLOR_RGBA2BGRA, dst=buffer)
            fourcc = kinds.FOURCC_VIDEO_TYPE_BGRX
        else:
            np.copyto(buffer, frame.pixels)
            fourcc = kinds.FOURCC_VIDEO_TYPE_RGBA
        rate = Fraction(self._o.fps).limit_denominator(1001)
        video = self._ndi.VideoFrameV2()
        video.data = buffer
        video.xres, video.yres = width, height
        video.line_stride_in_bytes = width * depth
        video.FourCC = fourcc
        video.frame_rate_N, video.frame_rate_D = rate.numerator, rate.denominator
        video.picture_aspect_ratio = width / height
        video.frame_format_type = self._ndi.FRAME_FORMAT_TYPE_PROGRESSIVE
        video.timecode = frame.info.t_generated_ns // 100
        video.metadata = metadata(frame.info)
        self._ndi.send_send_video_async_v2(self._sender, video)

    def figures(self) -> Mapping[str, float]:
        """Return how many receive it, and whether one has it on air (``program``) or in its preview."""
        if self._sender is None:
            return {}
        tally = self._ndi.Tally()
        self._ndi.send_get_tally(self._sender, tally, 0)
        return {
            "connections": float(self._ndi.send_get_no_connections(self._sender, 0)),
            "program": float(tally.on_program),
            "preview": float(tally.on_preview),
        }

    def close(self) -> None:
        """End the source."""
        if self._sender is not None:
            self._ndi.send_destroy(self._sender)
            self._sender = None
            self._buffers = []
