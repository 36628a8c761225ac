"""A small hub on loopback that speaks as much of huggingface.co's protocol as its own client asks for."""

import hashlib
import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves the files of folders by repository; ``break_off`` bytes into a file's first download it hangs up."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.break_off: dict[str, int] = {}
        self.ranges: list[tuple[str, str | None]] = []
        self.sent: dict[str, int] = {}

    def files(self, repository: str) -> list[Path]:
        folder = self.repositories[repository]
        return sorted(path for path in folder.rglob("*") if path.is_file())

    @contextmanager
    def running(self):
        """Yield the endpoint's URL."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer(False)

            def do_GET(self):
                self.answer(True)

            def answer(self, with_body):
                path = self.path.partition("?")[0]
                info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path)
                tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+/?", path)
                file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
                if info and info[1] in hub.repositories:
                    names = [
                        {"rfilename": f.relative_to(hub.repositories[info[1]]).as_posix()} for f in hub.files(info[1])
                    ]
                    self.say({"id": info[1], "modelId": info[1], "sha": COMMIT, "siblings": names, "private": False,
                              "tags": [], "downloads": 0, "likes": 0}, with_body)  # fmt: skip
                elif tree and tree[1] in hub.repositories:
                    self.say([self.row(f, hub.repositories[tree[1]]) for f in hub.files(tree[1])], with_body)
                elif file and file[1] in hub.repositories and (hub.repositories[file[1]] / file[2]).is_file():
                    self.send_file(file[2], (hub.repositories[file[1]] / file[2]).read_bytes(), with_body)
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def row(self, file, root):
                oid = hashlib.sha1(file.read_bytes()).hexdigest()
                return {
                    "type": "file",
                    "path": file.relative_to(root).as_posix(),
                    "size": file.stat().st_size,
                    "oid": oid,
                }

            def say(self, row, with_body):
                data = json.dumps(row).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if with_body:
                    self.wfile.write(data)

            def send_file(self, name, data, with_body):
                asked = self.headers.get("Range")
                start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(data) - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                if not with_body:
                    return
                hub.ranges.append((name, asked))
                limit = hub.break_off.pop(name, len(data))
                self.wfile.write(data[start : start + limit])
                hub.sent[name] = hub.sent.get(name, 0) + min(limit, len(data) - start)
                if limit < len(data) - start:
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
