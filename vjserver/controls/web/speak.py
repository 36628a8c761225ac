"""The page /speak: people hold a button and talk; each sees his own words, and all see the pictures that followed.

Sound comes in pieces by POST (phones refuse a WebSocket to a certificate of our own), 16-bit at whatever rate the phone
has, or as a whole voice memo where the page came by plain http and has no microphone. It is changed to 16 kHz here and
handed on to the listen process. A page has a secret of its own; the show knows its owner as ``guest 3fa9c1``.
"""

import asyncio
import hashlib
import io
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vjserver.controls.web.asked import PAGE_HEADERS, body_of, files_of, page_of, whole_of
from vjserver.runtime.clock import NS
from vjserver.runtime.pyav import opened
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.sound import Resampler16k, mono
from vjserver.speech.transcriber import MOST_S
from vjserver.types.audio import Float32
from vjserver.types.errors import VJError
from vjserver.types.events import Speech, TalkerSound

FILES = Path(__file__).parent / "speak"
ASSETS = ("speak.css", "speak.js", "worklet.js")
MOST_TALKERS, GONE_S = 64, 600.0
MOST_PIECE, MOST_MEMO = 1 << 18, 8 << 20
MOST_CHANNELS = 8
PIECE = 4000
"""Samples that are handed on at once: an event of 8000 bytes."""
PACE = 8
"""Events that are handed on without a pause: the queue holds about thirty."""
PAUSE_S = 0.03
RATES = (8000, 192000)
MOST_PICTURES = 48
_SECRET = re.compile(r"[0-9a-f]{16,64}")


WHO = "talker is 16 to 64 hexadecimal digits"
# What a memo may be, by how it begins: a decoder that chose by itself would open playlists, and what those name.
KINDS: dict[str, Callable[[bytes], bool]] = {
    "mov": lambda data: data[4:8] == b"ftyp",
    "matroska": lambda data: data[:4] == b"\x1aE\xdf\xa3",
    "ogg": lambda data: data[:4] == b"OggS",
    "mp3": lambda data: data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xf3", b"\xf2")),
    "aac": lambda data: data[:1] == b"\xff" and data[1:2] in (b"\xf1", b"\xf9"),
    "caf": lambda data: data[:4] == b"caff",
    "amr": lambda data: data[:5] == b"#!AMR",
}


def name_of(secret: str) -> str:
    """Return the name by which the show knows a page, ``""`` for what is no secret; it is always the same one."""
    return f"guest {hashlib.sha256(secret.encode()).hexdigest()[:6]}" if _SECRET.fullmatch(secret) else ""


def _asset(name: str) -> Path | None:
    return FILES / name if name in ASSETS else None


class Speaking(Protocol):
    """What the page needs of control."""

    def recent(self) -> Sequence[tuple[int, Speech]]:
        """Return what was said, with a number that counts events."""

    def waits(self, number: int) -> bool:
        """Tell whether an utterance's phrase waits for a hand."""

    def why_off(self) -> str:
        """Return why nobody is listened to, ``""`` where it is."""

    def privacy(self) -> str:
        """Return where the sound goes, in a sentence."""


@dataclass(slots=True)
class _Talker:
    """One page: by what name the show knows it, and what it is sending."""

    name: str
    seen_s: float
    resampler: Resampler16k | None = None
    sent: int = 0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Gallery:
    """The pictures that followed what was said, newest last. ``count``: who comes after another counts on."""

    def __init__(self, count: int = 0) -> None:
        self.pictures: deque[tuple[int, str, bytes]] = deque(maxlen=MOST_PICTURES)
        self._count = count

    def add(self, phrase: str, jpeg: bytes) -> None:
        """Keep a picture."""
        self._count += 1
        self.pictures.append((self._count, phrase, jpeg))

    def find(self, number: int) -> bytes | None:
        """Return a picture by its number, None where it is gone."""
        return next((jpeg for one, _, jpeg in self.pictures if one == number), None)


class SpeakPage:
    """The routes of the page. ``put`` hands sound on; ``secure`` is the page's address by https, ``""`` for none."""

    def __init__(
        self,
        speaking: Speaking,
        gallery: Gallery,
        put: Callable[[TalkerSound], None],
        now_ns: Callable[[], int],
        secure: str = "",
        trust: str = "",
        authority: bytes = b"",
    ) -> None:
        self._speaking, self._gallery, self._put, self._now_ns = speaking, gallery, put, now_ns
        self._secure, self._trust, self._authority = secure, trust, authority
        self._talkers: OrderedDict[str, _Talker] = OrderedDict()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="memo")
        self._memos = asyncio.Semaphore(2)

    def routes(self) -> list[Route]:
        """Return what is to be served."""
        return [
            Route("/speak", page_of(FILES / "index.html")),
            Route("/speak/news", self._news),
            Route("/speak/sound", self._sound, methods=["POST"]),
            Route("/speak/memo", self._memo, methods=["POST"]),
            Route("/speak/gallery", self._pictures),
            Route("/speak/secure", self._addresses),
            Route("/speak/picture/{number:int}.jpg", self._picture),
            Route("/speak/{name}", files_of(_asset)),
            Route("/trust", self._how_to_trust),
            Route("/trust/vjserver.crt", self._certificate),
        ]

    # -- what is sent --------------------------------------------------------------------------------------

    async def _addresses(self, _request: Request) -> Response:
        return JSONResponse({"page": self._secure, "trust": self._trust}, headers=PAGE_HEADERS)

    async def _pictures(self, request: Request) -> Response:
        since = whole_of(request, "since")
        rows = [{"number": n, "phrase": phrase} for n, phrase, _ in self._gallery.pictures if n > since]
        return JSONResponse({"pictures": rows}, headers=PAGE_HEADERS)

    async def _picture(self, request: Request) -> Response:
        found = self._gallery.find(request.path_params["number"])
        if found is None:
            return JSONResponse({"error": "not found"}, 404, PAGE_HEADERS)
        return Response(found, media_type="image/jpeg", headers=PAGE_HEADERS | {"Cache-Control": "max-age=3600"})

    async def _news(self, request: Request) -> Response:
        name = name_of(request.query_params.get("talker", ""))
        return self._told(name, request) if name else JSONResponse({"error": WHO}, 400, PAGE_HEADERS)

    def _told(self, name: str, request: Request) -> Response:
        """Return what this page's owner said, after what the page knows."""
        since = whole_of(request, "since")
        rows = [
            {
                "count": count, "kind": said.kind, "text": said.text, "agreed": said.agreed, "phrase": said.phrase,
                "waits": self._speaking.waits(said.number),
            }
            for count, said in self._speaking.recent()
            if count > since and said.talker == name
        ]  # fmt: skip
        news = {"rows": rows, "off": self._speaking.why_off(), "privacy": self._speaking.privacy()}
        return JSONResponse(news, headers=PAGE_HEADERS)

    # -- what comes ----------------------------------------------------------------------------------------

    def _talker(self, request: Request) -> "_Talker | Response":
        """Return who a page is; one that is new gets a name. Too many at once are told so."""
        secret = request.query_params.get("talker", "")
        if not name_of(secret):
            return JSONResponse({"error": WHO}, 400, PAGE_HEADERS)
        now_s = time.monotonic()
        talker = self._talkers.get(secret)
        if talker is None:
            gone = next(iter(self._talkers.items()), None)
            if gone is not None and len(self._talkers) >= MOST_TALKERS:
                if now_s - gone[1].seen_s < GONE_S:
                    return JSONResponse({"error": "too many talk at once: try again in a while"}, 503, PAGE_HEADERS)
                del self._talkers[gone[0]]
            talker = self._talkers[secret] = _Talker(name_of(secret), now_s)
        talker.seen_s = now_s
        self._talkers.move_to_end(secret)
        return talker

    async def _sound(self, request: Request) -> Response:
        talker = self._talker(request)
        if isinstance(talker, Response):
            return talker
        off = self._speaking.why_off()
        rate, ends = whole_of(request, "rate"), bool(whole_of(request, "ends"))
        body = await body_of(request, MOST_PIECE)
        if off:
            if talker.sent:
                await self._hand_on(talker, np.zeros(0, np.float32), True)
            return JSONResponse({"error": off}, 409, PAGE_HEADERS)
        if body is None or len(body) % 2 or not RATES[0] <= rate <= RATES[1]:
            why = f"a piece is 16-bit samples, {MOST_PIECE} bytes at most, at {RATES[0]}..{RATES[1]} Hz"
            return JSONResponse({"error": why}, 400, PAGE_HEADERS)
        async with talker.busy:
            try:
                if talker.resampler is None or talker.resampler.rate_hz != rate:
                    talker.resampler = Resampler16k(rate)
                sound = talker.resampler(np.frombuffer(body, np.int16).astype(np.float32) / 32768.0, last=ends)
            except VJError as error:
                return JSONResponse({"error": str(error)}, 503, PAGE_HEADERS)
            await self._hand_on(talker, sound, ends)
        return self._told(talker.name, request)

    async def _memo(self, request: Request) -> Response:
        talker = self._talker(request)
        if isinstance(talker, Response):
            return talker
        off = self._speaking.why_off()
        if off:
            return JSONResponse({"error": off}, 409, PAGE_HEADERS)
        async with self._memos:
            body = await body_of(request, MOST_MEMO)
            if body is None:
                return JSONResponse({"error": f"a memo has at most {MOST_MEMO >> 20} MB"}, 413, PAGE_HEADERS)
            try:
                sound = await asyncio.get_running_loop().run_in_executor(self._reader, memo_sound, body)
            except VJError as error:
                return JSONResponse({"error": str(error)}, 415, PAGE_HEADERS)
        async with talker.busy:
            await self._hand_on(talker, sound[: round(MOST_S * RATE_HZ)], True, memo=True)
        return self._told(talker.name, request)

    async def _hand_on(self, talker: _Talker, sound: Float32, ends: bool, memo: bool = False) -> None:
        """Hand sound on, so slowly that the other process keeps up; what is longer than an utterance is left out.

        A memo was said before now: it ends now.
        """
        begin_ns = self._now_ns() - (len(sound) * NS // RATE_HZ if memo else 0)
        room = round(MOST_S * RATE_HZ) - talker.sent
        sound = sound[: max(0, room)]
        talker.sent = 0 if ends else talker.sent + len(sound)
        if ends:
            talker.resampler = None
        data = (np.clip(sound, -1.0, 1.0) * 32767.0).astype(np.int16)
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)] or [data]
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            if len(piece) or (ends and last):
                t_ns = begin_ns + (i * PIECE + len(piece)) * NS // RATE_HZ if memo else self._now_ns()
                self._put(TalkerSound(t_ns, talker.name, piece.tobytes(), ends and last))
            if i % PACE == PACE - 1:
                await asyncio.sleep(PAUSE_S)

    # -- https ---------------------------------------------------------------------------------------------

    async def _how_to_trust(self, _request: Request) -> Response:
        if not self._authority:
            return JSONResponse({"error": "there is no https here: vjserver run --lan opens it"}, 404, PAGE_HEADERS)
        page = self._secure.partition("?")[0]  # whoever reads this shows a token of his own
        return HTMLResponse(TRUST_PAGE.replace("PAGE", page), headers=PAGE_HEADERS)

    async def _certificate(self, _request: Request) -> Response:
        if not self._authority:
            return JSONResponse({"error": "not found"}, 404, PAGE_HEADERS)
        return Response(self._authority, media_type="application/x-x509-ca-cert", headers=PAGE_HEADERS)


TRUST_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>trust this vjserver</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="dark">
<link rel="stylesheet" href="/speak/speak.css"></head><body><main>
<h1>Trust this server, once</h1>
<p>A phone opens its microphone for https pages only, and https needs a certificate. This server made its own.
It stands for this server alone: whoever runs it could pose as other sites to a phone that trusts it.
Take it away again after the show.</p>
<p><a href="/trust/vjserver.crt">1. Load the certificate</a></p>
<p><b>iPhone, iPad</b>: Settings, Profile Downloaded, Install. Then Settings, General, About, Certificate Trust
Settings: switch vjserver on.</p>
<p><b>Android</b>: Settings, Security, Encryption and credentials, Install a certificate, CA certificate.</p>
<p><b>A computer</b>: open the file; trust it for web sites.</p>
<p><a href="PAGE">2. Open the page</a></p>
</main></body></html>"""


def memo_sound(data: bytes) -> Float32:
    """Return the sound of a voice memo (m4a, webm, ogg, mp3, wav ...), mono at 16 kHz, 28 s at most. Raises VJError."""
    try:
        pieces = list(_pieces(data))
    except VJError:
        raise
    except Exception as error:  # noqa: BLE001 - a decoder of strangers, given a stranger's file
        raise VJError(f"this file holds no sound that can be read: {error}") from None
    if not pieces:
        raise VJError("this file holds no sound")
    return np.concatenate(pieces)


def _pieces(data: bytes) -> Iterator[Float32]:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.channels > MOST_CHANNELS:
                raise VJError(f"a memo has at most {MOST_CHANNELS} channels: got {file.channels}")
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise VJError(f"a memo has {RATES[0]}..{RATES[1]} samples a second: got {file.samplerate}")
            resampler, left = Resampler16k(int(file.samplerate)), round(MOST_S * file.samplerate)
            for block in file.blocks(65536, frames=left, dtype="float32", always_2d=True):
                yield resampler(mono(np.nan_to_num(block, posinf=0.0, neginf=0.0)))
            yield resampler(np.zeros(0, np.float32), last=True)
    except soundfile.SoundFileError:
        yield from _by_av(data)


def _by_av(data: bytes) -> Iterator[Float32]:
    try:
        import av
    except ImportError:
        raise VJError("this kind of memo needs PyAV on the server: pip install 'vjserver[record]'") from None
    kind = next((kind for kind, mark in KINDS.items() if mark(data)), "")
    if not kind:
        raise VJError(f"this file is none that is taken: {', '.join(KINDS)}, wav, flac")
    with opened(av, io.BytesIO(data), kind) as file:
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        count = 0
        for frame in file.decode(audio=0):
            for one in resampler.resample(frame):
                count += one.samples
                yield one.to_ndarray().reshape(-1).astype(np.float32)
            if count > MOST_S * RATE_HZ:
                return
