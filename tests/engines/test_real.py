"""A real vLLM serves pages, offline and as a server: its own figures and those counted from the model are the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engines.cpu_vllm.environment import RELEASE, VARIABLES

from pytest_ocrsweep import load_model
from pytest_ocrsweep.engines.about import StartOptions
from pytest_ocrsweep.engines.http import HttpEngine
from pytest_ocrsweep.engines.process import EngineProcess, Runner
from pytest_ocrsweep.engines.served import Load, ServedLoad, Summary, summary
from pytest_ocrsweep.errors import EngineError
from pytest_ocrsweep.model.geometry import CropGrid, Workload

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("vllm")]

KV_BYTES = 1 << 27
FLOAT, BYTES = 4, 2  # of a number in float32, and in the ledger
START_S = 300
MODEL = "tiny-ocr"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
TEXT_TOKENS = 10  # "\nFree OCR.", a token for each byte
SMALL = Load(640, 640, pages=4, concurrency=2, new_tokens=6, warmup=1)
SIZES = [  # of the tiny model, tests/engines/cpu_vllm/tiny_model.py, and its small tower
    *("model.sam.width=64", "model.sam.mlp_width=128", "model.sam.neck_width=16"),
    *("model.sam.downsample_widths=[32,64]", "model.clip.width=64", "model.clip.mlp_width=128"),
    *("model.decoder.width=256", "model.decoder.layers=2", "model.decoder.dense_width=512"),
    *("model.decoder.shared_experts=2", "model.decoder.expert_width=64", "model.decoder.max_positions=4096"),
]
PAGES = {"640x640": CropGrid(1, 1), "1240x1754": CropGrid(3, 2), "1920x1920": CropGrid(3, 3)}


@pytest.fixture(scope="module")
def offline(vllm_python: str, tiny_model: Path) -> Iterator[EngineProcess]:
    options = StartOptions(
        tiny_model, dtype="float32", enforce_eager=True, max_num_seqs=4, max_model_len=2048, max_crops=9,
        gpu_memory_utilization=0.3, kv_cache_memory_bytes=KV_BYTES,
    )  # fmt: skip
    with EngineProcess(Runner(vllm_python, environment=VARIABLES, start_s=START_S)) as engine:
        engine.start(options)
        yield engine


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(vllm_python: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpEngine]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    command = [vllm_python, "-m", "vllm.entrypoints.cli.main", "serve", str(tiny_model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", MODEL, "--load-format", "dummy", "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "4", "--chat-template", TEMPLATE]
    command += ["--gpu-memory-utilization", "0.3", "--kv-cache-memory-bytes", str(KV_BYTES)]
    environment = {**os.environ, **VARIABLES}
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        yield _ready(f"http://127.0.0.1:{port}", process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> HttpEngine:
    until = time.monotonic() + START_S
    while True:
        try:
            return HttpEngine(url)
        except EngineError as error:
            ended = process.poll() is not None or time.monotonic() > until
            if ended:
                pytest.fail(f"{error}\n{log.read_text()[-3000:]}", pytrace=False)
            time.sleep(0.5)


def page(size: str, **changes: int) -> Load:
    width, height = map(int, size.split("x"))
    grid = PAGES[size]
    load = Load(width, height, pages=2, new_tokens=6, warmup=1, image_tokens=Workload(grid).image_tokens)
    return replace(load, **changes)


def check_times(served: ServedLoad) -> Summary:
    """Laws that hold for every load, on any machine."""
    total = summary(served)
    assert total.ttft_ns
    assert total.tpot_ns
    assert len(served.requests) == served.load.pages
    for request in served.requests:
        assert request.sent_ns < request.first_ns <= request.last_ns
        assert request.last_ns - request.sent_ns <= served.wall_ns
        assert request.new_tokens == served.load.new_tokens
    in_all = sum(request.last_ns - request.sent_ns for request in served.requests)
    assert served.wall_ns * served.load.concurrency * 1.01 >= in_all  # never more in flight
    return total


# Offline


@pytest.mark.parametrize("size", PAGES)
def test_a_page_has_the_tokens_that_the_ledger_counts(size: str, offline: EngineProcess) -> None:
    served = offline.run(page(size))
    tokens = Workload(PAGES[size], prompt_tokens=TEXT_TOKENS).context_tokens
    assert {request.prompt_tokens for request in served.requests} == {tokens}
    assert check_times(served).render_ns


def test_requests_are_in_flight_together(offline: EngineProcess) -> None:
    served = offline.run(SMALL)
    check_times(served)
    sent = sorted(request.sent_ns for request in served.requests)
    ended = sorted(request.last_ns for request in served.requests)
    assert sent[1] < ended[0] <= sent[2]


def test_a_prompt_of_tokens_is_taken_as_it_is(offline: EngineProcess) -> None:
    served = offline.run(replace(SMALL, prompt=(5, 6, 7)))
    assert {request.prompt_tokens for request in served.requests} == {Workload(CropGrid(1, 1)).image_tokens + 3}


def test_a_page_that_does_not_fit_is_refused_and_the_engine_goes_on(offline: EngineProcess) -> None:
    with pytest.raises(EngineError, match="a page and its answer have 10,283 tokens, and max_model_len is 2,048; ask"):
        offline.run(replace(SMALL, new_tokens=10_000))
    check_times(offline.run(SMALL))


def test_the_engines_weights_are_those_of_the_ledger_to_the_byte(offline: EngineProcess) -> None:
    """The engine also holds CLIP's patch embedding, which no stage uses; its numbers have four bytes, not two."""
    model = load_model("deepseek-ocr-tiny", overrides=SIZES)
    counted = model.ledger("prefill", Workload(CropGrid(1, 1))).weight_bytes
    unused = model.architecture.clip.unused_patch_embedding * BYTES
    assert offline.about().weight_bytes == (counted + unused) * FLOAT // BYTES


def test_the_engines_kv_cache_is_that_of_the_ledger_to_the_byte(offline: EngineProcess) -> None:
    work, about = Workload(CropGrid(1, 1)), offline.about()
    counted = load_model("deepseek-ocr-tiny", overrides=SIZES).ledger("prefill", work).kv_cache_bytes
    assert about.kv_bytes_per_token == counted // work.context_tokens * FLOAT // BYTES
    assert about.kv_blocks is not None
    assert about.kv_block_tokens is not None
    assert about.kv_blocks * about.kv_block_tokens * about.kv_bytes_per_token == KV_BYTES


def test_an_engine_knows_itself(offline: EngineProcess) -> None:
    about = offline.about()
    assert (about.engine, about.version, about.gpu) == ("vllm", RELEASE, None)
    assert (about.max_num_seqs, about.max_model_len, about.captured_batches) == (4, 2048, ())
    assert about.encoder_graphs is False
    assert about.attention == "CPU_ATTN"
    assert about.versions.keys() == {"python", "torch", "transformers"}


# As a server


@pytest.mark.parametrize("size", ["640x640", "1240x1754"])
def test_a_server_reads_the_pages_that_the_ledger_counts(size: str, server: HttpEngine) -> None:
    served = server.run(page(size))
    tokens = Workload(PAGES[size], prompt_tokens=TEXT_TOKENS).context_tokens
    assert {request.prompt_tokens for request in served.requests} == {tokens}
    assert check_times(served).render_ns is None


def test_a_server_has_requests_in_flight_together(server: HttpEngine) -> None:
    check_times(server.run(SMALL))


def test_a_server_says_its_version_and_model(server: HttpEngine) -> None:
    about = server.about()
    assert (about.version, about.model, about.max_model_len) == (RELEASE, MODEL, 2048)


def test_a_server_that_refuses_a_load_is_quoted(server: HttpEngine) -> None:
    with pytest.raises(EngineError, match=r"answered 400: .*2048.*; change what its message names"):
        server.run(replace(SMALL, new_tokens=10_000))
    check_times(server.run(SMALL))
