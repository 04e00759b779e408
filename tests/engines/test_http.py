"""A server is timed as it is, whatever it does; each wrong answer is one line with what to do about it."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from engines import servers
from engines.servers import MODEL, OPENING, Handler, answer, delta, models, serving, usage
from PIL import Image

from pytest_ocrsweep.engines import chat
from pytest_ocrsweep.engines.endpoint import Endpoint
from pytest_ocrsweep.engines.http import HttpEngine
from pytest_ocrsweep.engines.served import Load, Request, summary
from pytest_ocrsweep.errors import EngineError

LOAD = Load(64, 48, pages=4, concurrency=2, new_tokens=5, warmup=1)
MS = 10**6
HUNG_S = 60  # a server that hangs; what gives it up is done long before, on a busy machine too


@contextmanager
def while_it_hangs() -> Iterator[None]:
    """What is inside must be done before a server that hangs is."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < HUNG_S


def failure(behave: Callable[[Handler, dict[str, Any]], None], load: Load = LOAD, **options: Any) -> EngineError:
    """The error of a load, after a look at its form: one line, with what to do."""
    with serving(behave) as server, pytest.raises(EngineError) as caught:
        HttpEngine(server.url, **options).run(load)
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


def after(count: int, then: Callable[[Handler, dict[str, Any]], None]) -> Callable[[Handler, dict[str, Any]], None]:
    """The first `count` requests are answered, the later ones as `then` has it."""
    number = iter(range(10**6))
    return lambda handler, body: (answer() if next(number) < count else then)(handler, body)


# What is measured


def test_a_request_has_the_time_to_its_first_token_and_between_tokens() -> None:
    with serving(answer(first_s=0.05, each_s=0.01)) as server:
        served = HttpEngine(server.url).run(LOAD)
    assert len(served.requests) == 4
    for request in served.requests:
        assert 50 * MS <= request.ttft_ns < 5000 * MS
        assert request.tpot_ns is not None
        assert 5 * MS <= request.tpot_ns < 1000 * MS  # where the first token was late, the others seem early
        assert (request.prompt_tokens, request.new_tokens) == (servers.PROMPT_TOKENS, 5)
    assert served.wall_ns >= 2 * (50 + 4 * 10) * MS  # two rounds of two


def test_the_role_that_opens_an_answer_is_no_token() -> None:
    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin()
        handler.event(OPENING)
        time.sleep(0.05)
        handler.event(delta(content=""))  # a token whose text is not complete
        handler.event(delta("length", content="x"))
        handler.event(usage(5))
        handler.finish()

    with serving(behave) as server:
        assert min(each.ttft_ns for each in HttpEngine(server.url).run(LOAD).requests) >= 50 * MS


def test_the_time_a_token_comes_from_the_count_of_tokens_and_not_of_parts() -> None:
    load = Load(64, 48, pages=1, new_tokens=9, warmup=0)
    with serving(answer(each_s=0.02, at_once=3)) as server:
        (request,) = HttpEngine(server.url).run(load).requests
    assert request.tpot_ns == (request.last_ns - request.first_ns) / 8
    assert request.last_ns - request.first_ns >= 40 * MS


def test_tokens_that_all_come_at_once_have_no_time() -> None:
    with serving(answer(at_once=100)) as server:
        total = summary(HttpEngine(server.url).run(LOAD))
    assert total.ttft_ns
    assert total.tpot_ns is None


def test_so_many_requests_are_in_flight_and_never_more() -> None:
    with serving(answer(first_s=0.05)) as server:
        HttpEngine(server.url).run(Load(64, 48, pages=12, concurrency=4, new_tokens=2, warmup=0))
    assert server.most_in_flight == 4


def test_every_page_is_another_image_of_the_size_asked_for() -> None:
    with serving(answer()) as server:
        HttpEngine(server.url).run(LOAD)
    urls = [part["image_url"]["url"] for body in server.bodies for part in body["messages"][0]["content"][:1]]
    images = [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) for url in urls]
    assert {image.size for image in images} == {(64, 48)}
    assert len({image.tobytes() for image in images}) == len(images) == 5  # one to warm up


def test_no_run_has_a_page_of_another_which_a_server_may_have_in_its_caches() -> None:
    with serving(answer()) as server:
        for engine in (HttpEngine(server.url), HttpEngine(server.url)):
            for _ in range(2):
                engine.run(LOAD)
    urls = [body["messages"][0]["content"][0]["image_url"]["url"] for body in server.bodies]
    assert len(set(urls)) == len(urls) == 20


def test_a_request_asks_for_a_stream_of_just_so_many_tokens() -> None:
    with serving(answer()) as server:
        HttpEngine(server.url).run(LOAD)
    body = server.bodies[0]
    assert body["messages"][0]["content"][1] == {"type": "text", "text": "Free OCR."}
    wanted = {"model": MODEL, "max_tokens": 5, "temperature": 0, "ignore_eos": True, "stream": True}
    assert {name: body[name] for name in wanted} == wanted
    assert body["stream_options"] == {"include_usage": True}


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(answer()) as server:
        assert len(HttpEngine(server.url).run(LOAD).requests) == 4


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_a_url_may_end_with_the_version(end: str) -> None:
    with serving(answer()) as server:
        assert HttpEngine(server.url + end).model == MODEL
    assert server.paths == ["/v1/models"]


def test_a_key_goes_into_the_header_and_into_no_message() -> None:
    keys = []

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        keys.append(handler.headers["Authorization"])
        handler.json({"error": {"message": "Unauthorized"}}, 401)

    error = failure(behave, key="secret-key")
    assert keys[0] == "Bearer secret-key"
    assert "secret-key" not in str(error) + repr(Endpoint.parse("http://h", "secret-key"))
    assert error.hint == "set OPENAI_API_KEY to the server's key"


def test_the_server_says_which_model_it_has_and_how_long_a_text_may_be() -> None:
    with serving(answer()) as server:
        about = HttpEngine(server.url).about()
    assert (about.engine, about.version, about.model, about.max_model_len) == ("http", None, MODEL, 2048)
    assert about.weight_bytes is None


@pytest.mark.parametrize("key", ["a\nb", "ü", "a b"])
def test_a_key_that_no_header_takes_is_refused(key: str) -> None:
    assert refused("http://127.0.0.1:1", key=key).hint == "correct OPENAI_API_KEY"


# What goes wrong before the first request


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def refused(url: str, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        HttpEngine(url, **options)
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


def test_a_server_that_does_not_run_refuses_connections() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert str(refused(url)) == f"{url}: refuses connections; start the server, or correct the URL"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:x",
        "http://[::1",
        "http://a\nb",
        "http://h/ü",
        "http://h/a b",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    assert "is no URL of a server; write it as http://127.0.0.1:8000" in str(refused(url))


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    error = refused("http://somebody:secret@127.0.0.1:1")
    assert error.hint == "set OPENAI_API_KEY"
    assert "secret" not in str(error)


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'x' * 64}.com"])
def test_a_host_without_an_address_is_named(host: str) -> None:
    assert "has no address" in str(refused(f"http://{host}:8000"))


def test_a_server_without_tls_is_not_asked_by_https() -> None:
    with serving(answer()) as server:
        error = refused(server.url.replace("http://", "https://"))
    assert error.hint == "use http://, if the server has no TLS"


CERTIFICATE = Path(__file__).with_name("localhost.pem")


def test_a_server_with_tls_is_timed_like_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with serving(answer(first_s=0.05), certificate=CERTIFICATE) as server:
        served = HttpEngine(server.url).run(LOAD)
    assert min(request.ttft_ns for request in served.requests) >= 50 * MS


def test_a_server_with_tls_that_is_too_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with (
        serving(lambda handler, body: time.sleep(HUNG_S), certificate=CERTIFICATE) as server,
        while_it_hangs(),
        pytest.raises(EngineError, match=re.escape("took more than 0.5 s over one request")),
    ):
        HttpEngine(server.url, limit_s=0.5).run(LOAD)


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with serving(answer(), certificate=CERTIFICATE) as server:
        error = refused(server.url)
    assert "certificate verify failed" in str(error)
    assert error.hint == "name the file of its certificate in SSL_CERT_FILE"


@pytest.mark.parametrize(
    ("names", "wanted", "line"),
    [
        (["a"], "b", "serves 'a', not 'b'; ask for a model that it serves"),
        (["a", "b"], None, "serves several models, 'a', 'b'; name one of them"),
        ([], None, "serves no model; start it with one"),
        (["\x1b[2Ja"], "b", r"serves '\x1b[2Ja', not 'b'; ask for a model that it serves"),
        ([*"abcdefg"], "x", "serves 'a', 'b', 'c', 'd', 'e', …, not 'x'; ask for a model that it serves"),
    ],
)
def test_a_model_is_asked_for_only_if_it_is_served(names: list[str], wanted: str | None, line: str) -> None:
    with serving(answer(), models(*names)) as server:
        assert str(refused(server.url, model=wanted)) == f"{server.url}: {line}"


@pytest.mark.parametrize("value", [[], {"data": 1}, {"data": [{}]}, {"data": None}])
def test_a_server_without_a_list_of_models_is_another_server(value: object) -> None:
    with serving(answer(), lambda handler: handler.json(value)) as server:
        assert refused(server.url).hint in (
            "give the URL of a server with the OpenAI protocol",
            "give the URL of the engine's own server",
        )


def test_a_web_page_is_not_shown() -> None:
    with serving(answer(), lambda handler: handler.whole(b"<html>\x1b[2J", "text/html")) as server:
        assert str(refused(server.url)).endswith(
            "answered 200 with a web page; give the URL of the engine's own server"
        )


def test_a_server_that_is_silent_is_given_up() -> None:
    with serving(answer(), lambda handler: time.sleep(HUNG_S)) as server, while_it_hangs():
        error = refused(server.url, limit_s=0.2)
    assert "took more than 0.2 s over one request; give it more time" in str(error)


def test_what_speaks_another_protocol_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"220 mail\x1b[2J\r\n")

        threading.Thread(target=speak, daemon=True).start()
        error = refused(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert r"closed the connection before it answered /v1/models (220 mail\x1b[2J" in str(error)


# What goes wrong in a load


def close_at_once(handler: Handler, body: dict[str, Any]) -> None:
    handler.break_off()


def close_in_the_middle(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.event(OPENING)
    handler.event(delta(content="x"))
    handler.break_off()


def end_in_the_middle(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.event(delta(content="x"))
    handler.wfile.write(b"0\r\n\r\n")


def fail_in_the_middle(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.event(delta(content="x"))
    handler.event({"error": {"message": "CUDA error\n\x1b[2J", "code": 500}})
    handler.finish()


def without_a_stream(handler: Handler, body: dict[str, Any]) -> None:
    handler.json({"choices": [{"message": {"content": "x"}}], "usage": {}})


def a_plain_text(handler: Handler, body: dict[str, Any]) -> None:
    handler.whole(b"xxxxx", "text/plain")


def no_token(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.event(OPENING)
    handler.event(usage(5))
    handler.finish()


def another_model(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.event({**delta(content="x"), "model": "other\x1b"})
    handler.finish()


def endless_line(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    handler.part(b"data: ")
    for _ in range(300):
        handler.part(b"x" * 10_000)


def trickle(handler: Handler, body: dict[str, Any]) -> None:
    handler.begin()
    for _ in range(20 * HUNG_S):
        handler.part(b"x")
        time.sleep(0.05)


def status(number: int, value: object, kind: str = "application/json") -> Callable[[Handler, dict[str, Any]], None]:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda handler, body: handler.whole(content, kind, number)


FAULTS = {
    "closes at once": (close_at_once, "closed the connection after 0 parts of an answer"),
    "closes in the middle": (close_in_the_middle, "ended the stream after 2 parts, in the middle of an answer"),
    "ends in the middle": (end_in_the_middle, "ended the stream after 1 parts, in the middle of an answer"),
    "fails in the middle": (fail_in_the_middle, r"failed in the middle of an answer: CUDA error \x1b[2J"),
    "no stream": (without_a_stream, "answered without a stream, so that no time of a token is known"),
    "plain text": (a_plain_text, "answered without a stream, so that no time of a token is known"),
    "no token": (no_token, "sent an answer without a token"),
    "no usage": (answer(last=[]), "does not say how many tokens an answer has; use a server that knows stream_options"),
    "wrong usage": (answer(last=[{"usage": {"prompt_tokens": "x"}}]), "which is no part of an answer"),
    "half a number": (answer(last=[{"usage": {"prompt_tokens": 1e999, "completion_tokens": 1}}]), "no part of"),
    "no JSON": (answer(last=[b"{\x1b"]), r"sent '{\\x1b', which is no part of an answer"),
    "a list": (answer(last=[[]]), "sent '[]', which is no part of an answer"),
    "wrong choices": (answer(last=[{"choices": [1]}]), "which is no part of an answer"),
    "another model": (another_model, r"answered as model 'other\x1b' when asked for 'tiny-ocr'; ask for the model"),
    "endless line": (endless_line, "sent a line of more than 1,048,576 bytes"),
    "400 images": (status(400, {"error": {"message": "tiny is not a multimodal model"}}), "refuses images (400): tiny"),
    "400": (status(400, {"message": "max_tokens is too large"}), "answered 400: max_tokens is too large; change what"),
    "401": (status(401, {"error": "Unauthorized"}), "answered 401: Unauthorized; set OPENAI_API_KEY"),
    "404": (status(404, {"detail": "Not Found"}), "answered 404: Not Found; correct the URL or the model's name"),
    "429": (
        status(429, {"error": {"message": "slow\x1b[2Jdown"}}),
        r"answered 429: slow\x1b[2Jdown; lower the concurr",
    ),
    "500": (status(500, b"\xffInternal", "text/plain"), "answered 500: '�Internal'; look into the server's log"),
    "502": (status(502, b"<h1>", "text/html"), "answered 502 with a web page; give the URL of the engine's own server"),
    "HTML": (status(200, b"<h1>", "text/html"), "answered with a web page; give the URL of the engine's own server"),
    "fewer tokens": (
        answer(last=[usage(4)]),
        "a request ended after 4 of 5 tokens; serve with a greater max_model_len",
    ),
    "no image": (answer(last=[usage(5, 12)]), "a request had 12 prompt tokens, but its image alone has 273"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_with_what_to_do(name: str) -> None:
    behave, line = FAULTS[name]
    assert line in str(failure(behave))


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("fewer tokens", "no image", "no usage")])
def test_what_was_measured_before_a_fault_is_kept(name: str) -> None:
    load = Load(64, 48, pages=8, new_tokens=5, warmup=0)
    error = failure(after(3, FAULTS[name][0]), load)
    assert len(error.requests) == 3
    assert all(isinstance(each, Request) for each in error.requests)
    assert error.at("engine=http").requests == error.requests


@pytest.mark.parametrize(
    ("message", "refuses"),
    [
        ("/models/llama is not a multimodal model", True),
        ("At most 0 image(s) may be provided in one prompt.", True),
        ("image input is not supported - hint: provide the mmproj", True),
        ("Invalid content type. image_url is only supported by certain models.", True),
        ("This model does not support vision", True),
        ("The prompt (length 1203) is longer than the maximum model length of 1024. Make sure that `max_model_len` is "
         "no smaller than the number of text tokens plus multimodal tokens. For image inputs, see the docs.", False),
        ("revision not found", False),
    ],
)  # fmt: skip
def test_only_a_server_that_reads_no_images_is_called_so(message: str, refuses: bool) -> None:
    error = failure(status(400, {"error": {"message": message}}))
    assert (error.hint == "serve a model that reads images") is refuses


def test_a_server_that_leads_elsewhere_is_not_followed() -> None:
    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.whole(b"", "text/plain", 307, Location="http://elsewhere\x7f/")

    assert r"answered 307: leads to 'http://elsewhere\x7f/'; give the URL that it leads to" in str(failure(behave))


@pytest.mark.parametrize("behave", [trickle, lambda handler, body: time.sleep(HUNG_S)], ids=["trickle", "silent"])
def test_a_server_that_is_too_slow_is_cut_off(behave: Callable[[Handler, dict[str, Any]], None]) -> None:
    with serving(behave) as server, while_it_hangs():
        engine = HttpEngine(server.url, limit_s=0.3)
        with pytest.raises(EngineError, match=re.escape("took more than 0.3 s over one request")):
            engine.run(LOAD)


def test_the_first_fault_ends_the_other_requests_too() -> None:
    def behave(handler: Handler, body: dict[str, Any]) -> None:
        close_at_once(handler, body) if len(server.bodies) == 3 else time.sleep(HUNG_S)

    with serving(behave) as server:
        with while_it_hangs(), pytest.raises(EngineError, match="closed the connection"):
            HttpEngine(server.url).run(Load(64, 48, pages=9, concurrency=3, new_tokens=2, warmup=0))
        assert len(server.bodies) == 3


def test_ctrl_c_ends_a_load_at_once() -> None:
    with serving(lambda handler, body: time.sleep(HUNG_S)) as server:
        engine = HttpEngine(server.url)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        with while_it_hangs(), pytest.raises(KeyboardInterrupt):
            engine.run(LOAD)


def test_a_prompt_of_tokens_is_refused() -> None:
    with serving(answer()) as server, pytest.raises(EngineError, match="takes no tokens as a prompt; give it as text"):
        HttpEngine(server.url).run(Load(64, 48, pages=1, prompt=(1, 2)))


def stream_bytes() -> bytes:
    events = [OPENING, *(delta(content="x") for _ in range(4)), delta("length", content="x"), usage(5)]
    parts = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in events] + [b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_damaged_answer_is_a_request_or_one_line() -> None:
    random, whole = Random(19), stream_bytes()
    damaged = whole

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.wfile.write(damaged)
        handler.break_off()

    load, outcomes = Load(8, 8, pages=1, new_tokens=5, warmup=0), set()
    with serving(behave) as server:
        engine = HttpEngine(server.url, limit_s=5)
        for _ in range(150):
            at, there = random.randrange(len(whole)), random.randrange(len(whole))
            middle = random.choice((b"", bytes([random.randrange(256)]), whole[there : there + 9]))
            damaged = whole[:at] + middle + whole[at + random.choice((0, 1, 200)) :]
            outcomes.add(outcome(engine, load))
    assert outcomes == {"served", "refused"}


def outcome(engine: HttpEngine, load: Load) -> str:
    try:
        engine.run(load)
    except EngineError as error:
        return "refused" if str(error).isprintable() else str(error)
    return "served"


def test_the_limits_of_a_line_are_those_of_one_event() -> None:
    """A page's text in one part, as servers without streaming of tokens send it, is read."""
    with serving(answer(at_once=10**6)) as server:
        load = Load(8, 8, pages=1, new_tokens=chat.MOST_LINE // 2, warmup=0)
        assert len(HttpEngine(server.url).run(load).requests) == 1
