"""A real endpoint of embeddings on loopback, which misbehaves when told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


class Endpoint:
    """What was asked, and what is answered: `reply` gets the request's body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.reply: Callable[[dict[str, Any]], Reply] = answer()
        #: Set it to let those that wait go on.
        self.go_on = threading.Event()
        self.url = ""


def answer(dimension: int = 3, **fields: Any) -> Callable[[dict[str, Any]], Reply]:
    """Answer as an endpoint should: a vector for each text, which tells texts apart by their letters."""

    def reply(body: dict[str, Any]) -> Reply:
        data = [{"index": n, "embedding": vector_of(text, dimension)} for n, text in enumerate(body["input"])]
        # Their order is not promised.
        return 200, {}, json.dumps({"object": "list", "data": data[::-1], "model": body["model"], **fields}).encode()

    return reply


def vector_of(text: str, dimension: int = 3) -> list[float]:
    """Return a vector for a text: one place for each third of the alphabet, and so on."""
    vector = [0.01] * dimension
    for letter in text.lower():
        if letter.isascii() and letter.isalpha():
            vector[(ord(letter) - 97) * dimension // 26] += 1.0
    return vector


def refuse(status: int, text: str = "no", **headers: str) -> Callable[[dict[str, Any]], Reply]:
    return lambda body: (status, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode())


@contextmanager
def serving() -> Iterator[Endpoint]:
    """Serve on a free port of loopback."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            endpoint.asked.append(body)
            endpoint.paths.append(self.path)
            endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, content = endpoint.reply(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        endpoint.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
