"""Pictures from a ZeroMQ publisher: one-part messages, our 128-byte header, RGBA8 or JPEG; only the newest is kept."""

import cv2
import numpy as np
import zmq
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import InputError
from vjserver.types.frames import FOURCC_JPEG, FOURCC_RGBA, HEADER_SIZE, Frame, FrameInfo, HeaderError, Pixels


class ZmqInputOptions(BaseModel):
    """Whom we listen to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field("tcp://127.0.0.1:9031", description="where the publisher is bound")


class ZmqInput:
    """Subscribes to one publisher; it may come and go."""

    Options = ZmqInputOptions

    def __init__(self, options: ZmqInputOptions) -> None:
        self._address = options.address
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Subscribe. Raises InputError for an address that makes no sense."""
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.CONFLATE, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 10)  # one that sends again after a fall is seen again at once
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            socket.connect(self._address)
        except zmq.ZMQError as error:
            socket.close()
            raise InputError(f"zmq input {self._address!r}: {error.strerror}") from None
        self._socket = socket

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture, or None. Raises InputError for a message that is none of ours."""
        assert self._socket is not None
        if not self._socket.poll(round(wait_s * 1e3)):
            return None
        message = self._socket.recv(zmq.NOBLOCK, copy=False)
        try:
            return _frame(message.buffer)
        except HeaderError as error:
            raise InputError(f"zmq input {self._address}: {error}") from None

    def close(self) -> None:
        """Unsubscribe."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _frame(data: memoryview) -> Frame:
    """Return the frame of a message; its pixels lie in the message. Raises HeaderError."""
    info = FrameInfo.unpack(data)
    if len(data) != HEADER_SIZE + info.data_size:
        raise HeaderError(f"{info.data_size} bytes announced: got {len(data) - HEADER_SIZE}")
    body = np.frombuffer(data, np.uint8, info.data_size, HEADER_SIZE)
    if info.fourcc == FOURCC_RGBA:
        return Frame(body.reshape(info.height, info.width, 4), info)
    if info.fourcc != FOURCC_JPEG:
        raise HeaderError(f"RGBA or JPEG expected: got fourcc {info.fourcc.to_bytes(4, 'little')!r}")
    bgr = cv2.imdecode(body, cv2.IMREAD_COLOR) if len(body) else None
    if bgr is None or bgr.shape[:2] != (info.height, info.width):
        raise HeaderError(f"no JPEG of {info.width}x{info.height}")
    pixels: Pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGBA), np.uint8)
    return Frame(pixels, info)
