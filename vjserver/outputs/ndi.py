"""NDI: frames as an NDI source, found by name on the network or by ``127.0.0.1:5961`` without discovery.

Colour goes out as BGRX (no alpha, which saves a third of the encoder's work). Each frame's timecode is the time at
which it was generated, in units of 100 ns, and its metadata is one ``<vj .../>`` element. NDI listens on all
interfaces whatever is asked. NDI(R) is a registered trademark of Vizrt NDI AB; its library comes with ``ndi-python``
under the NDI SDK licence and is not part of vjserver.
"""

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import OutputError
from vjserver.types.frames import Frame, FrameInfo, Pixels


class NdiOptions(BaseModel):
    """How the source is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("vjserver", min_length=1, max_length=120)
    fps: float = Field(60.0, gt=0.0, le=240.0, description="the rate that is declared; delivery paces the frames")


def metadata(info: FrameInfo) -> str:
    """Return a frame's header as the XML element that travels with it."""
    return (
        f'<vj frame="{info.frame_id}" capture_ns="{info.t_capture_ns}" generated_ns="{info.t_generated_ns}" '
        f'sent_ns="{info.t_sent_ns}" bpm="{info.bpm:.2f}" beat="{info.beat_index}" '
        f'beat_phase="{info.beat_phase:.4f}" bar_phase="{info.bar_phase:.4f}" seed="{info.seed}"/>'
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
            import NDIlib
        except ImportError as error:
            raise OutputError(
                f"NDI is not available ({error}); install it with: pip install 'vjserver[ndi]' "
                "(on Debian/Ubuntu also: apt install libavahi-client3 libavahi-common3)"
            ) from None
        if not NDIlib.initialize():
            raise OutputError("NDI's library does not run on this processor")
        create = NDIlib.SendCreate()
        create.ndi_name = self._o.name
        create.clock_video = False
        create.clock_audio = False
        self._sender = NDIlib.send_create(create)
        if not self._sender:
            raise OutputError(f"NDI refuses the sender name {self._o.name!r}; another program may have it")
        self._ndi = NDIlib

    def send(self, frame: Frame) -> None:
        """Send one frame; returns before it is encoded."""
        height, width = frame.pixels.shape[:2]
        if not self._buffers or self._buffers[0].shape[:2] != (height, width):
            self._retired = self._buffers  # the library may still read one of them until the next send
            self._buffers = [np.empty((height, width, 4), np.uint8) for _ in range(2)]
        buffer = self._buffers[self._turn]
        self._turn ^= 1
        cv2.cvtColor(frame.pixels, cv2.COLOR_RGBA2BGRA, dst=buffer)
        rate = Fraction(self._o.fps).limit_denominator(1001)
        video = self._ndi.VideoFrameV2()
        video.data = buffer
        video.FourCC = self._ndi.FOURCC_VIDEO_TYPE_BGRX
        video.frame_rate_N, video.frame_rate_D = rate.numerator, rate.denominator
        video.picture_aspect_ratio = width / height
        video.frame_format_type = self._ndi.FRAME_FORMAT_TYPE_PROGRESSIVE
        video.timecode = frame.info.t_generated_ns // 100
        video.metadata = metadata(frame.info)
        self._ndi.send_send_video_async_v2(self._sender, video)

    def close(self) -> None:
        """End the source."""
        if self._sender is not None:
            self._ndi.send_destroy(self._sender)
            self._sender = None
            self._buffers = []
