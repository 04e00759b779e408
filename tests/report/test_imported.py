"""Files of other tools: what each real one says, and why a file is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import starmap
from pathlib import Path

import pytest
from served import DATA, SERVE, slower, tool_file

from pytest_ocrsweep.baselines.serving import Pages
from pytest_ocrsweep.baselines.serving_metrics import Figure
from pytest_ocrsweep.engines.about import About
from pytest_ocrsweep.engines.saved import SavedRows
from pytest_ocrsweep.engines.served import Load, Request, ServedLoad
from pytest_ocrsweep.errors import ResultFileError
from pytest_ocrsweep.report.imported import files
from pytest_ocrsweep.report.imported.placed import Placed, Said, place, same_model
from pytest_ocrsweep.report.imported.tool_run import ToolRun

SAID = Said("deepseek-ocr", pages=Pages("grid", "3x2"), gpu="NVIDIA H100 80GB HBM3", served_as="tiny-ocr")
IMAGE_TOKENS = 903  # of a page of 3x2


def only(path: Path, new_tokens: int | None = None) -> ToolRun:
    (found,) = files.read(path, new_tokens)
    return found


def placed(found: ToolRun, said: Said = SAID) -> Placed:
    return place(found, said, lambda _pages, _engine: IMAGE_TOKENS)


def values(found: ToolRun) -> dict[str, float]:
    return {name: figure.value for name, figure in found.metrics.items()}


@pytest.fixture
def refused(tmp_path):
    """The error for a real file with changed keys, read and put at its point."""

    def run(source: str = SERVE.name, said: Said = SAID, **changed: object) -> str:
        path = tool_file(tmp_path / "FILE", source, **changed)
        with pytest.raises(ResultFileError) as error:
            placed(only(path), said)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"{path}: ")

    return run


# What each tool's own file says


def test_vllm_bench_serve():
    found = only(SERVE)
    assert (found.tool, found.model, found.engine) == ("vllm bench serve", "tiny-ocr", "vllm")
    assert (found.requests, found.concurrency, found.request_rate) == (12, 2, None)
    assert (found.input_tokens, found.output_tokens) == (10976 / 12, 20)
    assert found.date == "20261128-191726"
    assert values(found) == {
        "ttft_ns": 1_862_576_671,
        "ttft_p99_ns": 3_522_774_117,
        "tpot_ns": 43_671_511,
        "tpot_p99_ns": 92_626_854,
        "itl_ns": 18_399_526,
        "pages_per_s": 0.6992932341418248,
        "tokens_per_s": 13.985864682836496,
    }
    assert {figure.samples for figure in found.metrics.values()} == {None}


def test_vllm_bench_serve_with_single_requests_has_quartiles():
    found = only(DATA / "vllm-serve-detailed.json")
    raw = json.loads((DATA / "vllm-serve-detailed.json").read_text())
    ttft, tpot = found.metrics["ttft_ns"], found.metrics["tpot_ns"]
    assert (ttft.samples, tpot.samples) == (12, 12)
    assert ttft.q1 < ttft.value < ttft.q3
    assert ttft.value == pytest.approx(raw["median_ttft_ms"] * 1e6)
    assert tpot.value == pytest.approx(raw["median_tpot_ms"] * 1e6)
    assert found.metrics["pages_per_s"].samples is None


def test_a_file_that_grew_by_append_result_has_a_run_a_line():
    one, two = files.read(DATA / "vllm-serve-appended.json")
    assert (one.concurrency, two.concurrency) == (1, 4)
    assert one.where.endswith("vllm-serve-appended.json:1")
    assert two.where.endswith("vllm-serve-appended.json:2")


def test_sglangs_bench():
    found = only(DATA / "sglang.jsonl")
    assert (found.tool, found.engine, found.model) == ("sglang bench_serving", "vllm", None)
    assert (found.requests, found.concurrency, found.request_rate) == (8, 2, None)
    assert found.input_tokens == 7469 / 8
    assert values(found)["ttft_ns"] == 5_626_201_154
    assert "it does not say how many requests failed (--output-details does)" in found.notes


def test_sglangs_own_server_names_its_model_and_version(tmp_path):
    server = {"model_path": "deepseek-ai/DeepSeek-OCR", "served_model_name": "", "version": "0.5.23", "tp_size": 1}
    path = tool_file(
        tmp_path / "a.jsonl", "sglang.jsonl", server_info=server, backend="sglang-oai-chat", errors=[""] * 8
    )
    found = only(path)
    assert (found.engine, found.engine_version, found.model) == ("sglang", "0.5.23", "deepseek-ai/DeepSeek-OCR")
    assert placed(found, replace(SAID, served_as=None)).engine == "sglang"
    assert "it does not say how many requests failed (--output-details does)" not in found.notes


def test_aiperf():
    found = only(DATA / "aiperf.json")
    assert (found.tool, found.tool_version, found.model, found.engine) == ("aiperf", "0.13.0", "tiny-ocr", None)
    assert (found.requests, found.concurrency, found.request_rate) == (12, 2, None)
    assert (found.input_tokens, found.output_tokens, found.images, found.page) == (914, 20, 1, "1240x1754")
    assert found.date == "2026-11-28T19:25:11.029937"
    ttft = found.metrics["ttft_ns"]
    assert (ttft.value, ttft.q1, ttft.q3, ttft.samples) == (6_715_745_454, 5_106_054_854, 8_331_120_767, 12)
    assert values(found)["tpot_ns"] == 190_850_895  # what AIPerf calls inter_token_latency
    assert values(found)["itl_ns"] == 153_874_042  # and inter_chunk_latency
    assert values(found)["pages_per_s"] == pytest.approx(0.1899, abs=1e-4)


def test_aiperfs_units_are_those_that_it_writes(tmp_path):
    raw = json.loads((DATA / "aiperf.json").read_text())["time_to_first_token"]
    seconds = {name: value / 1000 if isinstance(value, float) else value for name, value in raw.items()}
    path = tool_file(tmp_path / "a.json", "aiperf.json", time_to_first_token={**seconds, "unit": "sec"})
    assert values(only(path))["ttft_ns"] == pytest.approx(6_715_745_454, abs=2)


def test_aiperf_before_0_13_has_its_load_elsewhere(tmp_path):
    config = {"endpoint": {"model_names": ["tiny-ocr"]}, "loadgen": {"concurrency": 7, "request_count": 12}}
    found = only(tool_file(tmp_path / "a.json", "aiperf.json", input_config=config))
    assert (found.model, found.concurrency, found.request_rate, found.page) == ("tiny-ocr", 7, None, None)


def test_aiperfs_telemetry_names_the_gpu(tmp_path):
    telemetry = {"endpoints": {"node:9401": {"gpus": {"gpu_0": {"gpu_name": "NVIDIA H200"}}}}}
    found = only(tool_file(tmp_path / "a.json", "aiperf.json", telemetry_data=telemetry))
    assert placed(found, replace(SAID, gpu=None, engine="vllm")).gpu == "nvidia-h200"


def test_two_pages_a_request_are_twice_as_many_pages_a_second(tmp_path):
    images, tokens = ({"unit": "x", "avg": value} for value in (2.0, 1820.0))
    found = only(tool_file(tmp_path / "a.json", "aiperf.json", num_images=images, usage_prompt_tokens=tokens))
    at = placed(found, replace(SAID, engine="vllm"))
    assert at.run.value("pages_per_s") == 2 * at.run.value("requests_per_s")
    assert at.key.prompt_tokens == 1820 - 2 * IMAGE_TOKENS


def test_vllm_bench_throughput_has_rates_alone(tmp_path):
    tokens = 4 * (IMAGE_TOKENS + 12 + 8)
    found = only(tool_file(tmp_path / "a.json", "vllm-throughput.json", total_num_tokens=tokens), new_tokens=8)
    assert set(values(found)) == {"pages_per_s", "tokens_per_s"}
    assert (found.input_tokens, found.output_tokens, found.concurrency) == (IMAGE_TOKENS + 12, 8, 4)
    assert values(found)["tokens_per_s"] == pytest.approx(8 * values(found)["pages_per_s"])


def test_a_list_of_runs_is_read(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps([json.loads(SERVE.read_text())] * 2, indent=4))
    assert [each.where for each in files.read(path)] == [f"{path}: run 1", f"{path}: run 2"]


# Load


@pytest.mark.parametrize(
    ("limit", "rate", "load"),
    [(8, "inf", (8, None)), (None, "inf", (12, None)), (8, 2.5, (8, 2.5)), (None, 2.5, (None, 2.5))],
)
def test_requests_at_once_are_all_in_flight_and_a_rate_is_kept(tmp_path, limit, rate, load):
    found = only(tool_file(tmp_path / "a.json", max_concurrency=limit, request_rate=rate))
    assert (found.concurrency, found.request_rate) == load


def test_an_aiperf_run_at_a_rate_keeps_it(tmp_path):
    config = json.loads((DATA / "aiperf.json").read_text())["input_config"]
    phases = [{"name": "w", "kind": "warmup", "concurrency": 1}, {"name": "p", "type": "poisson", "rate": 2.5}]
    found = only(tool_file(tmp_path / "a.json", "aiperf.json", input_config={**config, "phases": phases}))
    assert (found.concurrency, found.request_rate) == (None, 2.5)


# A point


def test_a_run_is_put_at_its_point():
    at = placed(only(SERVE))
    assert (at.gpu, at.engine, str(at.key)) == (
        "nvidia-h100-80gb-hbm3",
        "vllm",
        "grid 3x2, concurrency 2, 12 + 20 tokens",
    )
    provenance = at.run.provenance
    assert (provenance.tool, provenance.served_model) == ("vllm bench serve", "tiny-ocr")
    assert provenance.gpu == "NVIDIA H100 80GB HBM3"


def test_what_the_user_wrote_into_the_file_stands_for_options(tmp_path):
    written = {
        "grid": "3x2",
        "gpu": "NVIDIA H200",
        "engine_version": "0.26.0",
        "encoder_graphs": "true",
        "host": "node7",
    }
    at = placed(only(tool_file(tmp_path / "a.json", **written)), Said("deepseek-ocr", served_as="tiny-ocr"))
    assert (at.gpu, str(at.key.pages), at.key.encoder_graphs) == ("nvidia-h200", "grid 3x2", True)
    assert (at.run.provenance.engine_version, at.run.provenance.host) == ("0.26.0", "node7")


@pytest.mark.parametrize(
    ("word", "graphs"),
    [(w, True) for w in ("true", "1", "Yes", "on")] + [(w, False) for w in ("False", "0", "no", "off")],
)
def test_encoder_graphs_are_on_or_off(tmp_path, word, graphs):
    assert placed(only(tool_file(tmp_path / "a.json", encoder_graphs=word))).key.encoder_graphs is graphs


def test_an_option_goes_before_what_the_file_says(tmp_path):
    at = placed(only(tool_file(tmp_path / "a.json", grid="1x1", gpu="NVIDIA H200", engine="other")))
    assert (str(at.key.pages), at.gpu, at.engine) == ("grid 3x2", "nvidia-h100-80gb-hbm3", "other")


def test_a_concurrency_is_given_if_the_file_has_none_and_not_changed(tmp_path, refused):
    rated = only(tool_file(tmp_path / "a.json", max_concurrency=None, request_rate=2.5))
    assert placed(rated, replace(SAID, concurrency=8)).key.concurrency == 8
    assert placed(only(SERVE), replace(SAID, concurrency=2)).key.concurrency == 2
    assert refused(said=replace(SAID, concurrency=8)) == "its concurrency is 2, not 8 as --concurrency says"


def test_aiperf_names_the_page_that_it_made():
    at = placed(only(DATA / "aiperf.json"), replace(SAID, pages=None, engine="vllm"))
    assert str(at.key.pages) == "page 1240x1754"


@pytest.mark.parametrize(
    "name", ["deepseek-ai/DeepSeek-OCR", "deepseek-ocr", "/models/DeepSeek-OCR/", "D:\\models\\deepseek-ocr"]
)
def test_a_models_name_may_have_a_path_before_it(name):
    assert same_model("deepseek-ocr", name)


@pytest.mark.parametrize("name", ["deepseek-ai/DeepSeek-OCR-2", "DeepSeek-OCR/other", "deepseek", ""])
def test_another_model_is_not_ours(name):
    assert not same_model("deepseek-ocr", name)


def test_a_long_text_may_be_another_page(tmp_path):
    at = place(only(SERVE), SAID, lambda _pages, _engine: 283)
    assert at.notes == ("its text has 632 tokens, more than the 283 of grid 3x2: is that the page that was sent?",)


def test_tokens_that_arrived_in_bundles_have_no_itl():
    found = only(DATA / "vllm-serve-2.json")
    assert "itl_ns" not in found.metrics
    assert found.notes == (
        "its tokens arrived in bundles (0.00413 ms between chunks, 38.1 ms per token): ITL is left out",
    )


# Refused: no image was sent


def test_a_run_of_text_alone_is_refused():
    with pytest.raises(ResultFileError) as error:
        placed(only(DATA / "vllm-serve-text-only.json"))
    assert str(error.value).endswith(
        "its requests had 10.7 input tokens, fewer than the 903 image tokens of grid 3x2: no image was sent; or a "
        "`vllm bench serve` without vLLM's pull request 38654 (March 2026) counted the text alone: use a later one"
    )


def test_a_smaller_page_than_was_said_is_refused():
    one, _ = files.read(DATA / "vllm-serve-appended.json")
    with pytest.raises(ResultFileError, match=r"had 284.7 input tokens, fewer than the 903 image tokens of grid 3x2"):
        placed(one)


def test_without_a_page_the_figures_cannot_tell(refused):
    assert refused(said=replace(SAID, pages=None)) == (
        "it does not say which page was sent, so its 915 input tokens a request may be a page's or a text's; "
        "give --grid 3x2, or --page 1240x1754 in pixels"
    )


def test_a_mix_needs_the_tokens_of_its_smallest_page(refused):
    said = replace(SAID, pages=Pages("mix", "letters"))
    assert "fewer than the 903 image tokens of the smallest page of mix letters" in refused(
        said=said, total_input_tokens=99
    )


def test_sglang_without_vision_tokens_is_refused(refused):
    assert refused("sglang.jsonl", total_input_vision_tokens=0) == (
        "its requests had no vision tokens (total_input_vision_tokens 0): no image was sent; "
        "measure with `--dataset-name image`"
    )


def test_aiperf_without_images_is_refused(refused):
    assert "no request held an image" in refused("aiperf.json", num_images=...)
    said = replace(SAID, engine="vllm")
    few = {"unit": "tokens", "avg": 10.0}
    assert "had 10.0 input tokens, fewer than the 903 image" in refused("aiperf.json", said, usage_prompt_tokens=few)


def test_aiperf_without_the_servers_count_is_refused(refused):
    assert refused("aiperf.json", usage_prompt_tokens=...) == (
        "it has no usage_prompt_tokens, so nobody can tell whether the server read the images; "
        "measure with --use-server-token-count"
    )


def test_aiperfs_page_is_not_another_one(refused):
    said = replace(SAID, pages=Pages("page", "640x640"), engine="vllm")
    assert refused("aiperf.json", said) == "its pages have 1240x1754 pixels, not 640x640"


def test_throughput_counts_prompts_and_answers_together(refused):
    assert refused("vllm-throughput.json").endswith("give --new-tokens, the tokens of an answer")
    with pytest.raises(
        ResultFileError, match=r"had 11.5 input tokens, fewer than .* only `--backend vllm-chat` counts"
    ):
        placed(only(DATA / "vllm-throughput.json", new_tokens=8), replace(SAID, served_as="tiny"))


def test_vllm_bench_latency_sends_no_image(refused):
    latency = {"avg_latency": 0.5, "latencies": [0.5], "percentiles": {"50": 0.5}}
    assert refused("vllm-throughput.json", **latency, elapsed_time=...).startswith(
        "`vllm bench latency` sends random token ids and no image"
    )


# Refused: other reasons


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"completed": 0}, "no request was answered (completed 0): there is nothing to take"),
        ({"failed": 3}, "3 of its requests failed: the others look faster for it; see to the server's log"),
        ({"failed": ..., "num_prompts": 20}, "8 of its requests failed"),
        ({"median_ttft_ms": float("nan")}, "median_ttft_ms must be a number of at least 0, got nan"),
        ({"median_ttft_ms": float("inf")}, "median_ttft_ms must be a number of at least 0, got inf"),
        ({"median_ttft_ms": -5}, "median_ttft_ms must be a number of at least 0, got -5"),
        ({"median_ttft_ms": "5"}, "median_ttft_ms must be a number of at least 0, got '5'"),
        ({"median_ttft_ms": True}, "median_ttft_ms must be a number of at least 0, got True"),
        ({"median_ttft_ms": 1e12}, "ttft_ns must be a number of at least 1 and at most"),
        ({"completed": 11.5}, "completed must be a whole number, got 11.5"),
        ({"duration": 0}, "its duration is 0: no clock gives that"),
        ({"duration": ...}, "it has no duration: it is damaged"),
        ({"duration": 17160.0}, "request_throughput is 0.699293, but completed and duration make 0.0006993"),
        ({"total_output_tokens": 24000}, "output_throughput is 13.9859, but total_output_tokens and duration make"),
        ({"p99_ttft_ms": 1.0}, "ttft_p99_ns must be at least ttft_ns"),
        ({"ramp_up_strategy": "linear"}, "its requests came at a changing rate: no point has such a load"),
        ({"request_rate": "fast"}, "request_rate must be a number"),
        ({"model_id": "Qwen/Qwen2.5-VL-7B-Instruct"}, "it is of the model 'Qwen/Qwen2.5-VL-7B-Instruct', not of"),
        ({"model_id": ["tiny-ocr"]}, "model_id must be text"),
        ({"encoder_graphs": "perhaps"}, "encoder_graphs must be true or false, got 'perhaps'"),
        ({"engine": "../x"}, "an engine's name is of small letters"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(refused, changed, says):
    assert says in refused(**changed)


def test_another_model_is_refused_with_both_names(refused):
    assert refused(said=replace(SAID, served_as=None), model_id="Qwen/Qwen2-VL") == (
        "it is of the model 'Qwen/Qwen2-VL', not of deepseek-ocr; "
        "if that is the server's name of deepseek-ocr: --served-as Qwen/Qwen2-VL"
    )


def test_a_file_without_a_model_needs_the_servers_name(refused):
    assert "it does not name the model that was served; give --served-as" in refused(
        "sglang.jsonl", replace(SAID, served_as=None)
    )


def test_a_file_without_a_gpu_or_an_engine_needs_them(refused):
    assert "it does not name its GPU; give --gpu" in refused(said=replace(SAID, gpu=None))
    assert "it does not name the engine that served it; give --engine" in refused("aiperf.json")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"error_request_count": {"unit": "requests", "avg": 2.0}}, "2 of its requests failed"),
        ({"request_count": {"unit": "requests", "avg": 0}}, "no request was answered (request_count 0)"),
        ({"was_cancelled": True}, "the run did not finish (it was cancelled)"),
        ({"is_complete": False, "incomplete_reason": "stalled"}, "the run did not finish (stalled)"),
        (
            {"time_to_first_token": {"unit": "parsec", "p50": 5}},
            "its unit must be one of ns, us, ms, s, sec, got parsec",
        ),
        ({"time_to_first_token": [5]}, "time_to_first_token must be an object"),
        (
            {"request_throughput": {"unit": "requests/min", "avg": 5}},
            "its unit must be one of requests/sec, tokens/sec",
        ),
        ({"input_config": {"models": {"items": [{"name": "a"}, {"name": "b"}]}, "phases": [{}]}}, "tiny-ocr"),
        ({"input_config": {"phases": []}}, "it has 0 measured phases"),
        (
            {"input_config": {"phases": [{"rate": 1, "rate_ramp": {"duration": 5}}]}},
            "its requests came at a changing rate",
        ),
    ],
)
def test_an_aiperf_file_that_cannot_be_trusted_is_refused(refused, changed, says):
    if says == "tiny-ocr":  # which of several models answered is not known
        assert "it does not name the model" in refused("aiperf.json", replace(SAID, served_as=None), **changed)
    else:
        assert says in refused("aiperf.json", replace(SAID, engine="vllm"), **changed)


def test_single_requests_that_contradict_the_summary_are_refused(refused):
    ttfts = json.loads((DATA / "vllm-serve-detailed.json").read_text())["ttfts"]
    assert "the file contradicts itself" in refused("vllm-serve-detailed.json", ttfts=[2 * each for each in ttfts])


def test_sglangs_errors_are_failures(refused):
    assert "1 of its requests failed" in refused("sglang.jsonl", errors=["", "HTTP 500"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b'{"a": 1}\n{"a": 2', "it is not JSON"),
        (b"\xff\xfe", "it is not text"),
        (b'{"a": 1, "a": 2}', "a key is given twice"),
        (b"[" * 100_000, "it cannot be read"),
        (b"[]", "no tool that is known here wrote this"),
        (
            b'{"results": 5}',
            "no tool that is known here wrote this; known are pytest_ocrsweep.engines, aiperf, sglang",
        ),
        (b"5", "no tool that is known here wrote this"),
        (b"Metric,avg,min\n", "AIPerf's CSV names neither the model nor the load; give profile_export_aiperf.json"),
    ],
)
def test_a_file_of_no_known_tool_is_one_line(tmp_path, content, says):
    path = tmp_path / "FILE"
    path.write_bytes(content)
    with pytest.raises(ResultFileError) as error:
        files.read(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_aiperfs_real_csv_is_refused_with_the_file_to_give():
    with pytest.raises(ResultFileError, match=r"give profile_export_aiperf\.json"):
        files.read(DATA / "aiperf.csv")


def test_a_folder_and_a_missing_file_are_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(ResultFileError, match="it cannot be read"):
            files.read(path)


def test_a_slower_file_agrees_with_itself(tmp_path):
    found = only(slower(tmp_path / "a.json", 0.2))
    assert values(found)["ttft_ns"] == pytest.approx(1.2 * values(only(SERVE))["ttft_ns"])
    assert values(found)["pages_per_s"] == pytest.approx(values(only(SERVE))["pages_per_s"] / 1.2)


# Ours


def own_file(tmp_path: Path, requests: int = 12) -> Path:
    """What the command for engines by hand saves of one load."""
    load = Load(1240, 1754, requests, concurrency=2, new_tokens=5)
    sent = [(i * 10**9, i * 10**9 + 60_000_000 + i, i * 10**9 + 68_000_000 + 3 * i, 913, 5) for i in range(requests)]
    rendered = tuple(range(10**8, 10**8 + requests))
    served = ServedLoad(load, tuple(starmap(Request, sent)), requests * 10**9, rendered, energy_mj=21_500 * requests)
    about = About("vllm", version="0.26.0", model="deepseek-ocr", gpu="NVIDIA H200", encoder_graphs=True)
    with SavedRows(tmp_path / "run.json") as rows:
        rows.add(about, served)
    return tmp_path / "run.json"


def test_our_own_rows_are_read_with_every_request(tmp_path):
    (run,) = files.read(own_file(tmp_path))
    assert (run.tool, run.requests, run.input_tokens, run.output_tokens) == ("pytest_ocrsweep.engines", 12, 913, 5)
    assert (run.engine, run.engine_version, run.gpu, run.page) == ("vllm", "0.26.0", "NVIDIA H200", "1240x1754")
    assert (run.concurrency, run.written) == (2, {"encoder_graphs": "True"})
    assert run.metrics["ttft_ns"] == Figure(60_000_005.5, 60_000_002.75, 60_000_008.25, 12)
    assert run.metrics["tpot_ns"].value == pytest.approx(2_000_002.75)
    assert (run.metrics["pages_per_s"], run.metrics["tokens_per_s"]) == (Figure(1.0), Figure(5.0))
    assert run.metrics["render_ns"].value == 10**8 + 5.5
    assert run.metrics["energy_mj_per_page"] == Figure(21_500.0)


OWN_DAMAGE = {
    "requests": ([], "no request was answered: there is nothing to take"),
    "wall_ns": (0, "it has no wall_ns: it is damaged, or of a version that is not known here"),
    "energy_mj": (-5, "energy_mj must be a number of at least 0, got -5"),
    "rendered_ns": ([None], "rendered_ns must hold numbers of at least 0, got None"),
}


@pytest.mark.parametrize("name", OWN_DAMAGE)
def test_our_own_rows_are_refused_where_they_are_damaged(name, tmp_path):
    path = own_file(tmp_path)
    value, line = OWN_DAMAGE[name]
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ResultFileError, match=f"^{re.escape(f'{path}: {line}')}"):
        files.read(path)


@pytest.mark.parametrize("request_", [[1, 2], [1, 2, 3, 4, "5"], [3, 2, 1, 913, 5], [1, 2, 3, 913, 0], "all", None])
def test_a_request_that_no_clock_gives_is_refused(request_, tmp_path):
    path = own_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "requests": [request_]}))
    with pytest.raises(ResultFileError, match="a request must be"):
        files.read(path)
