"""A stand-in of AssemblyAI's streaming v3, as strict as the service: it tells a script by the second."""

import json
import ssl
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

KEY = "a-key-of-ours"
WORDS_A_SECOND = 3.0


class Service:
    """What it was sent, and how it is to behave."""

    def __init__(self, script="a small wooden boat drifts across a calm lake", break_after_s=None, refuse=0, close=0):
        self.script = script.split()
        self.break_after_s, self.refuse, self.close = break_after_s, refuse, close
        self.connections = self.terminated = 0
        self.seconds = 0.0
        self.queries = []
        self.faults = []

    def check(self, connection, request):
        """Answer before the WebSocket is made: a key that is not taken fails here."""
        if request.headers.get("Authorization") != KEY or self.refuse:
            return connection.respond(self.refuse or 401, "not authorised\n")
        return None

    def talk(self, ws: ServerConnection):
        """One session."""
        self.connections += 1
        query = {key: rows[0] for key, rows in parse_qs(urlsplit(ws.request.path).query).items()}
        self.queries.append(query)
        if self.close or "speech_model" not in query:
            ws.close(self.close or 3006)
            return
        rate = int(query["sample_rate"])
        ws.send(json.dumps({"type": "Begin", "id": "one", "expires_at": 1}))
        ws.send(json.dumps({"type": "SomethingNew"}))
        order, said_s, whole_s = 0, 0.0, 0.0
        try:
            for message in ws:
                if isinstance(message, bytes):
                    piece_s = len(message) / 2 / rate
                    if not 0.0499 <= piece_s <= 1.0:
                        self.faults.append(f"a piece of {piece_s:.3f} s")
                        ws.close(3007)
                        return
                    said_s, whole_s = said_s + piece_s, whole_s + piece_s
                    self.seconds = whole_s
                    if self.break_after_s is not None and whole_s >= self.break_after_s:
                        self.break_after_s = None
                        ws.socket.shutdown(2)
                        return
                    ws.send(json.dumps(self.turn(order, said_s, False, False)))
                    continue
                kind = json.loads(message)["type"]
                if kind == "ForceEndpoint":
                    ws.send(json.dumps(self.turn(order, 1e9, True, False)))
                    if query.get("format_turns", "").lower() == "true":
                        ws.send(json.dumps(self.turn(order, 1e9, True, True)))
                    order, said_s = order + 1, 0.0
                elif kind == "Terminate":
                    self.terminated += 1
                    done = {
                        "type": "Termination",
                        "audio_duration_seconds": round(whole_s),
                        "session_duration_seconds": round(whole_s),
                    }
                    ws.send(json.dumps(done))
                    ws.close(1000)
                    return
        except ConnectionClosed:
            return

    def turn(self, order, seconds, ends, formatted):
        """Return what is known of a turn after so many seconds of it."""
        words = self.script[: int(seconds * WORDS_A_SECOND) if seconds < 1e6 else None]
        text = " ".join(words)
        rows = [
            {"text": w, "start": 300 * i, "end": 300 * i + 250, "confidence": 0.9, "word_is_final": True}
            for i, w in enumerate(words)
        ]
        return {
            "type": "Turn", "turn_order": order, "turn_is_formatted": formatted, "end_of_turn": ends,
            "end_of_turn_confidence": 0.9 if ends else 0.1,
            "transcript": text.capitalize() + "." if formatted else text, "words": rows,
        }  # fmt: skip


@contextmanager
def serving(service: Service, context: ssl.SSLContext | None = None):
    """Serve it on a port of this machine; yield the address."""
    server: Server = serve(service.talk, "127.0.0.1", 0, process_request=service.check, ssl=context)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'wss' if context else 'ws'}://127.0.0.1:{server.socket.getsockname()[1]}/v3/ws"
    finally:
        server.shutdown()
        thread.join()
