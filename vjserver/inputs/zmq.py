"""Pictures from a ZeroMQ publisher: one-part messages, our 128-byte header and RGBA8; only the newest is kept."""

import numpy as np
import zmq
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import InputError
from vjserver.types.frames import FOURCC_RGBA, HEADER_SIZE, Frame, FrameInfo, HeaderError


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
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            socket.connect(self._address)
        except zmq.ZMQError as error:
            socket.close()
            raise InputError(f"zmq input {self._address!r}: {error.strerror}") from None
        self._socket = socket

    def read(self) -> Frame | None:
        """Return the newest picture, or None. Raises InputError for a message that is none of ours."""
        assert self._socket is not None
        try:
            data = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        try:
            info = FrameInfo.unpack(data)
        except HeaderError as error:
            raise InputError(f"zmq input {self._address}: {error}") from None
        if info.fourcc != FOURCC_RGBA or len(data) != HEADER_SIZE + info.data_size:
            raise InputError(
                f"zmq input {self._address}: RGBA of {info.data_size} bytes expected: got {len(data)} in all"
            )
        pixels = np.frombuffer(data, np.uint8, info.data_size, HEADER_SIZE)
        return Frame(pixels.reshape(info.height, info.width, 4), info)

    def close(self) -> None:
        """Unsubscribe."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
