"""ZeroMQ: each frame is one message, the 128-byte header and then the pixels, published to whoever listens.

Subscribers should set CONFLATE (as we do) so that they always get the newest frame; that needs one-part messages.
"""

from typing import Literal

import cv2
import numpy as np
import zmq
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vjserver.types.errors import OutputError
from vjserver.types.frames import FOURCC_JPEG, HEADER_SIZE, Frame, Pixels, header_of


class ZmqOptions(BaseModel):
    """Where frames are published, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field("tcp://127.0.0.1:9030", pattern=r"^(tcp|ipc)://.+")

    @field_validator("address")
    @classmethod
    def _port(cls, address: str) -> str:
        port = address.rpartition(":")[2]
        if address.startswith("tcp:") and not (port.isdecimal() and len(port) < 6 and 1 <= int(port) <= 65535):
            raise ValueError(f"tcp://HOST:PORT needs a port in 1..65535: got {address[:60]!r}")
        return address

    encoding: Literal["raw", "jpeg"] = Field("raw", description="raw is RGBA8; jpeg is a tenth of it, without alpha")
    quality: int = Field(85, ge=1, le=100, description="of jpeg")


class ZmqOutput:
    """Publishes frames."""

    Options = ZmqOptions

    def __init__(self, options: ZmqOptions) -> None:
        self._o = options
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Bind. Raises OutputError when the address is taken."""
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(self._o.address)
        except zmq.ZMQError as error:
            self.close()
            raise OutputError(f"ZeroMQ cannot bind {self._o.address}: {error}; is another vjserver running?") from None

    def send(self, frame: Frame) -> None:
        """Publish a frame; one that nobody has taken yet is replaced."""
        assert self._socket is not None
        message = self._jpeg(frame) if self._o.encoding == "jpeg" else _raw(frame)
        try:
            self._socket.send(message.data, zmq.DONTWAIT, copy=False)
        except zmq.Again:
            pass  # nobody takes it: the next one will be newer
        except zmq.ZMQError as error:
            raise OutputError(f"ZeroMQ cannot send to {self._o.address}: {error}") from None

    def close(self) -> None:
        """Unbind."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._context is not None:
            self._context.term()
            self._context = None

    def _jpeg(self, frame: Frame) -> Pixels:
        bgr = cv2.cvtColor(frame.pixels, cv2.COLOR_RGBA2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._o.quality])[1]
        header = header_of(frame, FOURCC_JPEG, data.nbytes)
        return np.concatenate((np.frombuffer(header, np.uint8), data.reshape(-1)))


def _raw(frame: Frame) -> Pixels:
    """Return a message of its own for each frame: ZeroMQ keeps it until everybody has it."""
    message = np.empty(HEADER_SIZE + frame.pixels.nbytes, np.uint8)
    message[:HEADER_SIZE] = np.frombuffer(header_of(frame), np.uint8)
    np.copyto(message[HEADER_SIZE:].reshape(frame.pixels.shape), frame.pixels)
    return message
