"""AssemblyAI: sound goes over the network as somebody speaks, words come back (streaming v3). Off unless asked for.

It is asked as any recogniser is, for all that was said since the begin of a sentence; what it was sent already is not
sent again. So whatever goes wrong in mid-sentence, the local recogniser is asked for the same sound, and no word is
lost or said twice. It bills for time connected: it is connected when somebody speaks, and left after a silence.

Source: AssemblyAI's public API specification of streaming v3, 2026.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from vjserver.recognisers.whisper import WhisperOptions, WhisperRecogniser
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.words import ContextName, Hypothesis, Word
from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError

KEY = "ASSEMBLYAI_API_KEY"
LEAST_S, MOST_S = 0.05, 0.9
"""Sound in a message: the service takes 50 to 1000 ms."""
PARTIAL_WAITS_S, FINAL_WAITS_S, FORMATTED_WAITS_S = 0.25, 1.5, 0.3
PREFIX = 4000
CLOSES = {
    1008: "it does not take the key, or the account",
    3005: "the service has a fault",
    3006: "it did not understand us",
    3007: "the sound came in pieces that it does not take",
    3008: "a session lasts three hours at most",
    3009: "too many sessions are open with this key",
}
REFUSED = frozenset((1008, 3009))
REFUSED_S, BROKEN_S = 300.0, 20.0
"""So long until it is tried again, where it refused us, and where the network broke."""


class AssemblyAIOptions(BaseModel):
    """Where it is and who steps in. The key is read from the environment, ``ASSEMBLYAI_API_KEY``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field("wss://streaming.assemblyai.com/v3/ws", description="streaming.eu.assemblyai.com is the EU's")
    speech_model: str = Field("universal-streaming-multilingual", max_length=80)
    idle_s: float = Field(20.0, ge=5.0, le=3600.0, description="it is left after so long a silence")
    local: str = Field("base", description="the model that steps in: base, tiny.en, or a folder")
    threads: int = Field(1, ge=1, le=16, description="processor threads of the local one")


class AssemblyAIRecogniser:
    """The service, and the local recogniser that steps in for it."""

    Options = AssemblyAIOptions
    leaves = "AssemblyAI"
    revises = False

    def __init__(self, options: AssemblyAIOptions, now_s: Callable[[], float] = time.monotonic) -> None:
        self._o, self._now_s = options, now_s
        self._local = WhisperRecogniser(WhisperOptions(model=options.local, threads=options.threads))
        self._session: _Session | None = None
        self._again_s = 0.0
        self._fault = ""

    def open(self) -> None:
        """Get the local recogniser ready. Raises DeviceError for weights, or a key, that are missing."""
        if not os.environ.get(KEY):
            raise DeviceError(f"AssemblyAI needs a key: set {KEY} in the environment, or recogniser = 'whisper'")
        self._local.open()

    def languages(self) -> tuple[str, ...]:
        """Return the codes that may be asked for: those of the local recogniser."""
        return self._local.languages()

    def decode(
        self, sound: Float32, language: str = "", context: ContextName = "short", hints: Sequence[str] = ()
    ) -> Hypothesis:
        """Return what was said. Where the service does not answer, the local one does, and ``fault`` says why."""
        if self._now_s() >= self._again_s:
            try:
                found = self._asked(sound, context, hints)
                self._fault = ""
                return found
            except _GoneError as error:
                self._drop()
                self._fault = str(error)
                self._again_s = self._now_s() + (REFUSED_S if error.refused else BROKEN_S)
        found = self._local.decode(sound, language, context, hints)
        return Hypothesis(found.text, found.language, found.confidence, found.silence, found.words, self._fault)

    def _asked(self, sound: Float32, context: ContextName, hints: Sequence[str]) -> Hypothesis:
        if self._session is None or self._session.over:
            self._session = _Session(self._o, os.environ.get(KEY, ""), hints)
        return self._session.decode(sound, ends=context != "partial")

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """End the session, and let the weights go; may be called twice."""
        self._drop()
        self._local.close()


class _GoneError(Exception):
    """The service cannot be had now; ``refused`` where trying again soon makes no sense."""

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(f"AssemblyAI: {why}; the local recogniser goes on")
        self.refused = refused


class _Session:
    """One connection: sentences go through it one after another."""

    def __init__(self, options: AssemblyAIOptions, key: str, hints: Sequence[str]) -> None:
        self._open = contextlib.ExitStack()
        query = {
            "speech_model": options.speech_model,
            "sample_rate": RATE_HZ,
            "encoding": "pcm_s16le",
            "format_turns": "true",
        }
        if hints:
            query["keyterms_prompt"] = json.dumps(list(hints)[:100])
        try:
            self._socket: ClientConnection = self._open.enter_context(
                connect(
                    f"{options.url}?{urlencode(query)}", additional_headers={"Authorization": key}, open_timeout=3.0,
                    close_timeout=0.5,
                )
            )  # fmt: skip
        except InvalidStatus as error:
            status = error.response.status_code
            why = "it does not take the key" if status in (401, 403) else "it refuses the connection"
            raise _GoneError(f"{why} (HTTP {status}): see {KEY}", status in (401, 403)) from None
        except ConnectionClosed as error:
            raise _closed(error) from None
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise _GoneError(f"it cannot be reached ({type(error).__name__})") from None
        self._idle_s = options.idle_s
        self._news = threading.Condition()
        self._turns: dict[int, dict[str, Any]] = {}
        self._from_turn = self._count = self._ends = 0
        self._sent: Float32 = np.zeros(0, np.float32)
        self._heard_s = time.monotonic()
        self._why: _GoneError | None = None
        self.over = False
        self._reader = threading.Thread(target=self._read, name="assemblyai", daemon=True)
        self._reader.start()

    # -- what comes ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take messages until the end; leave after a silence."""
        try:
            while not self.over:
                try:
                    text = self._socket.recv(timeout=0.25)
                except TimeoutError:
                    if time.monotonic() - self._heard_s > self._idle_s:
                        break
                    continue
                self._take(text)
            self.over = True  # whoever speaks now opens another
            self._terminate()
        except ConnectionClosed as error:
            self._why = _closed(error)
        except (OSError, ValueError) as error:
            self._why = _GoneError(f"the connection broke ({type(error).__name__})")
        finally:
            with self._news:
                self.over = True
                self._news.notify_all()
            with contextlib.suppress(OSError, ConnectionClosed):
                self._open.close()

    def _terminate(self) -> None:
        """Say that we leave: the service bills for the time connected."""
        with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
            self._socket.send(json.dumps({"type": "Terminate"}))
            for _ in range(20):
                if json.loads(self._socket.recv(timeout=0.5)).get("type") == "Termination":
                    break

    def _take(self, text: str | bytes) -> None:
        message = json.loads(text)
        kind = message.get("type")
        if kind == "Error":
            self._why = _GoneError(str(message.get("error", "an error"))[:200])
        if kind == "Turn" and isinstance(message.get("turn_order"), int):
            with self._news:
                self._turns[message["turn_order"]] = message
                self._count += message["turn_order"] >= self._from_turn
                self._ends += bool(message.get("end_of_turn")) and message["turn_order"] >= self._from_turn
                self._news.notify_all()

    # -- what is asked -------------------------------------------------------------------------------------

    def decode(self, sound: Float32, ends: bool) -> Hypothesis:
        """Return what the service makes of a sentence so far; where it ``ends``, what it stands by."""
        self._heard_s = time.monotonic()
        head = self._sent[:PREFIX]
        if len(sound) < len(self._sent) or not np.array_equal(sound[: len(head)], head) or not len(head):
            self._begin()
        pieces = self._count + self._send(sound)
        if ends:
            self._force()
        deadline = time.monotonic() + (FINAL_WAITS_S if ends else PARTIAL_WAITS_S)
        with self._news:
            while (left := deadline - time.monotonic()) > 0.0 and not self.over:
                if ends and self._ends > 0 and self._ended():
                    deadline = min(deadline, time.monotonic() + FORMATTED_WAITS_S)
                    if self._formatted():
                        break
                elif not ends and self._count >= pieces:
                    break
                self._news.wait(min(left, 0.1))
            if self.over or (ends and not self._ended()):
                raise self._why or _GoneError("it gave no answer in time")
            found = self._hypothesis()
        if ends:
            self._begin()
        return found

    def _force(self) -> None:
        """Have the service end the turn; one that it had ended by itself before is not the last of the sentence."""
        self._ends = 0
        self._say({"type": "ForceEndpoint"})

    def _begin(self) -> None:
        """Begin another sentence: what was said before is of the last, also where that was given up in the middle."""
        given_up = len(self._sent) > 0 and not (self._ends > 0 and self._ended())
        if given_up:
            self._force()
            with self._news:
                self._news.wait_for(lambda: self._ends > 0 or self.over, FINAL_WAITS_S)
        with self._news:
            self._from_turn = max(self._turns, default=self._from_turn - 1) + 1
            self._turns.clear()
            self._ends = 0
        self._sent = np.zeros(0, np.float32)

    def _mine(self) -> list[dict[str, Any]]:
        return [self._turns[order] for order in sorted(self._turns) if order >= self._from_turn]

    def _ended(self) -> bool:
        mine = self._mine()
        return bool(mine) and bool(mine[-1].get("end_of_turn"))

    def _formatted(self) -> bool:
        mine = self._mine()
        return bool(mine) and bool(mine[-1].get("turn_is_formatted"))

    def _send(self, sound: Float32) -> int:
        """Send what is new, in pieces that the service takes; return how many."""
        fresh = sound[len(self._sent) :]
        most, least = round(MOST_S * RATE_HZ), round(LEAST_S * RATE_HZ)
        for at in range(0, len(fresh), most):
            piece = fresh[at : at + most]
            piece = np.pad(piece, (0, max(0, least - len(piece))))
            try:
                self._socket.send((np.clip(piece, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
            except (ConnectionClosed, OSError):
                raise self._gone() from None
        self._sent = sound.copy()
        return -(-len(fresh) // most)

    def _say(self, message: dict[str, str]) -> None:
        try:
            self._socket.send(json.dumps(message))
        except (ConnectionClosed, OSError):
            raise self._gone() from None

    def _gone(self) -> _GoneError:
        self._reader.join(1.0)  # it learns why
        return self._why or _GoneError("the connection broke")

    def _hypothesis(self) -> Hypothesis:
        turns = self._mine()
        words = [word for turn in turns for word in turn.get("words", ()) if {"text", "start", "end"} <= word.keys()]
        zero_ms = min((float(word["start"]) for word in words), default=0.0)
        chances = [float(word.get("confidence", 1.0)) for word in words]
        times = tuple(
            Word(str(word["text"]), (word["start"] - zero_ms) / 1e3, (word["end"] - zero_ms) / 1e3, chance)
            for word, chance in zip(words, chances, strict=True)
        )
        text = " ".join(str(turn.get("utterance") or turn.get("transcript", "")).strip() for turn in turns)
        language = next((str(t["language_code"]) for t in reversed(turns) if t.get("language_code")), "en")
        return Hypothesis(text.strip(), language, float(np.mean(chances)) if chances else 1.0, 0.0, times)

    def close(self) -> None:
        """End the session."""
        self.over = True
        self._reader.join(1.5)


def _closed(error: ConnectionClosed) -> _GoneError:
    code = error.rcvd.code if error.rcvd is not None else 1006
    why = CLOSES.get(code, "the connection was closed")
    return _GoneError(f"{why} (close {code})", code in REFUSED)
