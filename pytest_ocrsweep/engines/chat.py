"""One page through a server's chat protocol: what is sent, what comes back as a stream, and when."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from ..errors import EngineError
from ..files.text import printable, quoted
from ..files.untrusted import parse_json
from .endpoint import ConnectionWatch, Endpoint
from .served import Load, Request

MOST_LINE = 1 << 20
MOST_BODY = 1 << 16  # of an answer that is only read for its message
STREAM = "data:"
Json = Mapping[str, Any]  # an object of an answer
# What servers say that do not read images; that a page has too many image tokens is another message.
IMAGES = re.compile(
    r"at most 0 image|\bnot\b[^.]*(image|multi-?modal|vision)|(image|multi-?modal|vision)[^.]*\b(not|only) support",
    re.I,
)
STATUS = {
    401: "set OPENAI_API_KEY to the server's key",
    403: "set OPENAI_API_KEY to the server's key",
    404: "correct the URL or the model's name",
    429: "lower the concurrency, or raise the server's limit",
}
SERVER_LOG = "look into the server's log"
WRONG_SERVER = "give the URL of the engine's own server"


def body(model: str, load: Load, page: bytes) -> bytes:
    """A request for one page. Raises EngineError for a prompt of tokens, which the protocol does not have."""
    if not isinstance(load.prompt, str):
        raise EngineError("the chat protocol takes no tokens as a prompt;", "give it as text")
    url = "data:image/png;base64," + base64.b64encode(page).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": load.prompt}]
    return json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": load.new_tokens,
            "temperature": 0,
            "ignore_eos": True,  # of vLLM and SGLang
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


@dataclass(slots=True)
class Stream:
    """What a stream has said so far."""

    first_ns: int | None = None
    last_ns: int | None = None
    usage: tuple[int, int] | None = None  # prompt tokens, new tokens
    chunks: int = 0
    ended: bool = False

    def take(self, chunk: Json, now_ns: int) -> None:
        """Notes a chunk. How many tokens it has is not known: servers send several at once."""
        self.chunks += 1
        for choice in chunk.get("choices") or ():
            if _has_token(choice.get("delta") or {}):
                self.first_ns, self.last_ns = self.first_ns or now_ns, now_ns
            self.ended = self.ended or choice.get("finish_reason") is not None
        if usage := chunk.get("usage"):
            self.usage = int(usage["prompt_tokens"]), int(usage["completion_tokens"])


def _has_token(delta: Json) -> bool:
    """Whether a part of the answer has come. A token whose text is not complete is an empty text without a role."""
    text = delta.get("content")
    return bool(text or delta.get("reasoning_content")) or (text == "" and not delta.get("role"))


def ask(endpoint: Endpoint, model: str, content: bytes, watch: ConnectionWatch) -> Request:
    """Sends a request and reads its stream to the end. Raises EngineError, and Cut."""
    stream = Stream()
    with _open(endpoint, watch, lambda: f"after {stream.chunks} parts of an answer") as connection:
        sent_ns = time.perf_counter_ns()
        connection.request("POST", f"{endpoint.path}/v1/chat/completions", content, endpoint.headers())
        response = connection.getresponse()
        _check_start(endpoint, response)
        for now_ns, data in _events(endpoint, response):
            _take(endpoint, model, stream, data, now_ns)
    return _request(endpoint, sent_ns, stream)


def get(endpoint: Endpoint, path: str, watch: ConnectionWatch) -> Json:
    """The object that a server has at a path. Raises EngineError, and Cut."""
    with _open(endpoint, watch, lambda: f"before it answered {path}") as connection:
        connection.request("GET", f"{endpoint.path}{path}", headers=endpoint.headers())
        response = connection.getresponse()
        if response.status != 200 or response.headers.get_content_type() == "text/html":
            raise refusal(endpoint, response)
        content = response.read(MOST_LINE)
    try:
        return _object(content)
    except (RecursionError, ValueError):
        raise EngineError(f"{endpoint}: answered {path} with {_quote(content)};", WRONG_SERVER) from None


@contextmanager
def _open(endpoint: Endpoint, watch: ConnectionWatch, when: Callable[[], str]) -> Iterator[HTTPConnection]:
    """A connection under watch; what breaks it is an EngineError that says when."""
    connection = endpoint.connection()
    with watch.over(connection):
        try:
            yield connection
        except (OSError, HTTPException) as error:
            raise endpoint.broken(error, when()) from None


def _request(endpoint: Endpoint, sent_ns: int, stream: Stream) -> Request:
    """What the whole stream comes to."""
    if stream.usage is None and not stream.ended:
        what = f"{endpoint}: ended the stream after {stream.chunks} parts, in the middle of an answer;"
        raise EngineError(what, SERVER_LOG)
    if stream.usage is None:
        what = f"{endpoint}: does not say how many tokens an answer has;"
        raise EngineError(what, "use a server that knows stream_options.include_usage, as vLLM and SGLang do")
    if stream.first_ns is None or stream.last_ns is None:
        raise EngineError(f"{endpoint}: sent an answer without a token;", SERVER_LOG)
    return Request(sent_ns, stream.first_ns, stream.last_ns, *stream.usage)


def _events(endpoint: Endpoint, response: HTTPResponse) -> Iterator[tuple[int, bytes]]:
    """The data of each event, and when it came."""
    found = False
    while line := response.readline(MOST_LINE):
        now_ns = time.perf_counter_ns()
        if not line.endswith(b"\n") and len(line) >= MOST_LINE:  # a part may go beyond it
            raise EngineError(f"{endpoint}: sent a line of more than {MOST_LINE:,} bytes;", SERVER_LOG)
        if line.startswith(STREAM.encode()):
            found = True
            data = line[len(STREAM) :].strip()
            if data == b"[DONE]":
                return
            yield now_ns, data
    if not found and response.headers.get_content_type() != "text/event-stream":
        raise _no_stream(endpoint)


def _take(endpoint: Endpoint, model: str, stream: Stream, data: bytes, now_ns: int) -> None:
    """Notes a chunk of the model that was asked. Raises EngineError."""
    try:
        chunk = _object(data)
        if "error" not in chunk:
            stream.take(chunk, now_ns)
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise EngineError(f"{endpoint}: sent {_quote(data)}, which is no part of an answer;", SERVER_LOG) from None
    if "error" in chunk:
        raise EngineError(f"{endpoint}: failed in the middle of an answer: {_message(chunk)};", SERVER_LOG)
    if chunk.get("model", model) != model:
        what = f"{endpoint}: answered as model {quoted(chunk['model'])} when asked for {quoted(model)};"
        raise EngineError(what, "ask for the model that it serves")


def _check_start(endpoint: Endpoint, response: HTTPResponse) -> None:
    """Raises EngineError for anything but the start of a stream."""
    kind = response.headers.get_content_type()
    if response.status != 200:
        raise refusal(endpoint, response)
    if kind == "text/html":
        raise EngineError(f"{endpoint}: answered with a web page;", WRONG_SERVER)
    if kind == "application/json":
        raise _no_stream(endpoint)


def _no_stream(endpoint: Endpoint) -> EngineError:
    what = f"{endpoint}: answered without a stream, so that no time of a token is known;"
    return EngineError(what, 'use a server that knows "stream": true')


def refusal(endpoint: Endpoint, response: HTTPResponse) -> EngineError:
    """What a status other than 200 means, with the server's message."""
    content = response.read(MOST_BODY)
    status = response.status
    if response.headers.get_content_type() == "text/html":
        what = f"{endpoint}: answered {status} with a web page;"
        return EngineError(what, STATUS.get(status, WRONG_SERVER))
    try:
        message = _message(_object(content))
    except (RecursionError, ValueError):
        message = _quote(content)
    if IMAGES.search(message) and status not in STATUS:
        return EngineError(f"{endpoint}: refuses images ({status}): {message};", "serve a model that reads images")
    if 300 <= status < 400:
        location = quoted(response.headers.get("Location"))
        return EngineError(f"{endpoint}: answered {status}: leads to {location};", "give the URL that it leads to")
    hint = STATUS.get(status, SERVER_LOG if status >= 500 else "change what its message names")
    return EngineError(f"{endpoint}: answered {status}: {message};", hint)


def _object(content: bytes) -> Json:
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _message(value: Json) -> str:
    """The message of an error, wherever a server has it."""
    error = value.get("error", value)
    text = error if isinstance(error, str) else None
    if isinstance(error, dict):
        text = error.get("message") or error.get("detail")
    return printable(" ".join(str(text or value).split()), 300)


def _quote(content: bytes) -> str:
    return quoted(printable(content[:200].decode(errors="replace").strip(), 80))
