"""A real HTTP server with the OpenAI chat protocol that behaves as a test says: well, slowly, wrongly or not at all."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = "tiny-ocr"
PROMPT_TOKENS = 283


class Handler(BaseHTTPRequestHandler):
    """Answers as its server's `behave` says. `send` and the rest are for behaviours."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path.endswith("/v1/models"):
            self.server.list_models(self)
        else:
            self.json({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.count(self):
            self.server.bodies.append(body)
            self.server.behave(self, body)

    def json(self, value: object, status: int = 200) -> None:
        self.whole(json.dumps(value).encode(), "application/json", status)

    def whole(self, content: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def begin(self, kind: str = "text/event-stream; charset=utf-8") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def part(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))

    def event(self, value: object) -> None:
        self.part(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")

    def finish(self) -> None:
        self.server.answered(self)  # before the client can know it and send its next request
        self.event(b"[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def break_off(self) -> None:
        """Closes the connection in the middle."""
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Server(ThreadingHTTPServer):
    """What it was asked, and how many requests it answered at once at most."""

    behave: Callable[[Handler, dict[str, Any]], None]
    list_models: Callable[[Handler], None]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    certificate: Path | None = None  # it speaks TLS with it
    in_flight: set[Handler] = field(default_factory=set)
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.daemon_threads = True
        super().__init__(("127.0.0.1", 0), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    __hash__ = object.__hash__

    @property
    def url(self) -> str:
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.server_port}"

    @contextmanager
    def count(self, handler: Handler) -> Iterator[None]:
        with self.lock:
            self.in_flight.add(handler)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            yield
        finally:
            self.answered(handler)

    def answered(self, handler: Handler) -> None:
        with self.lock:
            self.in_flight.discard(handler)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what some tests are about."""


def models(*names: str) -> Callable[[Handler], None]:
    value = {"object": "list", "data": [{"id": name, "object": "model", "max_model_len": 2048} for name in names]}
    return lambda handler: handler.json(value)


ONE = models(MODEL)


@contextmanager
def serving(
    behave: Callable[[Handler, dict[str, Any]], None],
    list_models: Callable[[Handler], None] = ONE,
    certificate: Path | None = None,
) -> Iterator[Server]:
    server = Server(behave, list_models, certificate=certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# Parts of an answer


def delta(finish: str | None = None, **content: object) -> dict[str, Any]:
    return {"model": MODEL, "choices": [{"index": 0, "delta": content, "finish_reason": finish}]}


def usage(new_tokens: int, prompt_tokens: int = PROMPT_TOKENS) -> dict[str, Any]:
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": new_tokens}
    return {"model": MODEL, "choices": [], "usage": counts}


OPENING = delta(role="assistant", content="")


def answer(
    *, first_s: float = 0, each_s: float = 0, at_once: int = 1, last: Sequence[object] | None = None
) -> Callable[[Handler, dict[str, Any]], None]:
    """A right answer: `at_once` tokens a part, the parts `each_s` apart; `last` replaces its usage."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        count = body["max_tokens"]
        handler.begin()
        time.sleep(first_s)
        handler.event(OPENING)
        for number in range(0, count, at_once):
            if number:
                time.sleep(each_s)
            handler.event(delta("length" if number + at_once >= count else None, content="x" * at_once))
        for value in [usage(count)] if last is None else last:
            handler.event(value)
        handler.finish()

    return behave
