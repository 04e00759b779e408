"""`ocrsweep import`: recorded, green, red, refused; what it prints, writes and exits with."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from served import DATA, SERVE, slower, tool_file

from pytest_ocrsweep.cli import main
from pytest_ocrsweep.report import files, owned

FILE = Path("baselines/deepseek-ocr-tiny/serving/cpu/vllm.json")
HERE = (
    "--gpu",
    "cpu",
    "--grid",
    "3x2",
    "--model",
    "deepseek-ocr-tiny",
    "--served-as",
    "tiny-ocr",
    "--engine",
    "vllm==0.32.0",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Real files, and three runs that are a little apart."""
    monkeypatch.chdir(tmp_path)
    for number, by in enumerate((0.0, 0.004, -0.004), 1):
        slower(tmp_path / f"quiet-{number}.json", by)
    slower(tmp_path / "same.json", 0.002)
    slower(tmp_path / "slow.json", 0.3)
    slower(tmp_path / "fast.json", -0.3)
    for name in ("text-only", "appended"):
        shutil.copy(DATA / f"vllm-serve-{name}.json", tmp_path / f"{name}.json")
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs the command; gives its exit code, and the lines of both streams."""

    def it(*words: str, here: tuple[str, ...] = HERE) -> tuple[int, list[str], list[str]]:
        try:
            code = main(["import", *words, *here])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return it


@pytest.fixture
def recorded(folder, run):
    assert run("quiet-1.json", "quiet-2.json", "quiet-3.json", "--update")[0] == 0
    return folder


def test_runs_are_recorded_and_the_file_is_named(folder, run):
    code, out, _ = run("quiet-1.json", "quiet-2.json", "quiet-3.json", "--update")
    assert code == 0
    assert out[-1] == f"{FILE}: 1 added, 0 changed, 2 as before"
    (point,) = json.loads(FILE.read_text())["points"]
    assert (point["pages"], point["concurrency"], point["prompt_tokens"], len(point["runs"])) == ("grid 3x2", 2, 12, 3)
    assert json.loads(FILE.read_text())["provenances"][0]["engine_version"] == "0.32.0"


def test_the_same_speed_is_green(recorded, run):
    before = FILE.read_text()
    code, out, err = run("same.json")
    assert (code, err) == (0, [])
    assert out[0] == "deepseek-ocr-tiny on cpu, vllm"
    assert out[1] == "grid 3x2, concurrency 2, 12 + 20 tokens"
    assert out[-1] == "GREEN: 5 metrics of 1 point judged, none worse"
    assert FILE.read_text() == before


def test_a_slower_run_is_red_in_times_and_in_rates(recorded, run):
    code, out, _ = run("slow.json")
    assert code == 1
    verdicts = {line[:12].strip(): line.rpartition("  ")[2] for line in out[3:10]}
    assert verdicts == {
        **dict.fromkeys(("TTFT ms", "TPOT ms", "ITL ms", "pages/s", "tokens/s"), "FAIL"),
        **dict.fromkeys(("TTFT p99 ms", "TPOT p99 ms"), "NOT JUDGED"),
    }
    assert out[-1] == (
        "RED: TTFT ms +30.0 %, TPOT ms +30.0 %, ITL ms +30.0 %, pages/s -23.1 %, tokens/s -23.1 % "
        "at grid 3x2, concurrency 2, 12 + 20 tokens"
    )


def test_a_faster_run_is_improved_and_green(recorded, run):
    code, out, _ = run("fast.json")
    assert code == 0
    assert {line.split()[-1] for line in out if line.startswith(("TTFT ms", "pages/s"))} == {"IMPROVED"}


def test_nothing_recorded_is_no_green(folder, run):
    code, out, err = run("same.json")
    assert code == 2
    assert "1 point without a baseline: record with --update" in out
    assert err == ["ocrsweep: nothing was judged, as nothing is recorded of these points; record runs with --update"]


def test_one_recorded_run_is_no_green(folder, run):
    run("quiet-1.json", "--update")
    code, out, err = run("slow.json")
    assert code == 2
    assert err == ["ocrsweep: nothing was judged, as the noise is not known yet; record another run with --update"]
    assert any("one recorded run without samples shows no noise: record another" in line for line in out)


def test_one_recorded_run_with_samples_judges(folder, run):
    run(str(DATA / "vllm-serve-detailed.json"), "--update")
    code, out, _ = run(str(DATA / "vllm-serve-busy.json"))
    assert code == 1
    assert out[-1].startswith("RED: TTFT ms +191.4 %")


def test_a_run_of_text_alone_is_refused_and_records_nothing(recorded, run):
    before = FILE.read_text()
    code, out, (error,) = run("text-only.json", "quiet-1.json", "--update")
    assert (code, out) == (2, [])
    assert error.startswith("ocrsweep: text-only.json: its requests had 10.7 input tokens, fewer than the 903 image")
    assert FILE.read_text() == before


def test_each_bad_file_has_its_line(recorded, run):
    Path("odd.json").write_text("{}")
    code, _, err = run("text-only.json", "odd.json", "missing.json", "same.json")
    assert code == 2
    assert [re.match(r"ocrsweep: (\S+):", line)[1] for line in err] == ["text-only.json", "odd.json", "missing.json"]


def test_a_file_of_two_concurrencies_is_two_points(folder, run):
    grid = ("--gpu", "cpu", "--grid", "1x1", "--model", "deepseek-ocr-tiny", "--served-as", "tiny-ocr")
    code, out, _ = run("appended.json", "--update", here=grid)
    assert code == 0
    assert [line for line in out if line.startswith("grid")] == [
        "grid 1x1, concurrency 1, 12 + 20 tokens",
        "grid 1x1, concurrency 4, 12 + 20 tokens",
    ]
    assert out[-1] == f"{FILE}: 2 added, 0 changed, 0 as before"


def test_files_of_one_point_are_judged_together(recorded, run):
    code, out, _ = run("same.json", "quiet-1.json", "--json")
    assert code == 0
    (point,) = json.loads("\n".join(out))["points"]
    assert point["files"] == ["same.json", "quiet-1.json"]
    assert point["metrics"]["ttft_ns"]["change"] == pytest.approx(0.001, abs=1e-4)


def test_the_same_file_twice_is_one_run(recorded, run):
    _, out, _ = run("same.json", "same.json", "--json")
    assert json.loads("\n".join(out))["points"][0]["files"] == ["same.json"]


def test_json_is_in_base_units_with_null_for_what_was_not_measured(recorded, run):
    code, out, _ = run("slow.json", "--json")
    document = json.loads("\n".join(out))
    assert (code, document["red"]) == (1, True)
    (point,) = document["points"]
    assert (point["verdict"], point["pages"], point["encoder_graphs"]) == ("FAIL", "grid 3x2", None)
    assert point["metrics"]["render_ns"] is None
    pages = point["metrics"]["pages_per_s"]
    assert (pages["unit"], pages["better"], pages["verdict"]) == ("pages/s", "higher", "FAIL")
    assert pages["change"] == pytest.approx(1 / 1.3 - 1, abs=1e-3)


def test_a_page_in_pixels_has_the_tokens_of_its_grid(folder, run):
    pixels = tuple({"--grid": "--page", "3x2": "1240x1754"}.get(word, word) for word in HERE)
    code, out, _ = run("quiet-1.json", "--update", here=pixels)
    assert code == 0
    assert "page 1240x1754, concurrency 2, 12 + 20 tokens" in out


def test_an_engines_limit_of_crops_decides_what_a_page_must_have(folder, run):
    tool_file(Path("long.json"), total_input_tokens=12 * 950)
    long = ("--gpu", "cpu", "--page", "700x5000", "--served-as", "tiny-ocr")  # 7x1, or 6x1 if at most 6 crops are cut
    code, _, (error,) = run("long.json", here=(*long, "--engine", "other"))
    assert (code, "fewer than the 1,043 image tokens of page 700x5000" in error) == (2, True)
    assert run("long.json", "--update", here=(*long, "--engine", "vllm"))[0] == 0
    assert run("long.json", "--update", here=(*long, "--set", "engine.most_crops=9"))[0] == 2


def test_a_device_of_the_catalogue_is_its_drivers_name(folder, run):
    grid = ("--grid", "3x2", "--served-as", "tiny-ocr", "--update")
    tool_file(Path("written.json"), gpu="H100")
    for words in (["quiet-1.json", "--gpu", "h100"], ["written.json"]):
        file = "baselines/deepseek-ocr/serving/nvidia-h100-80gb-hbm3/vllm.json:"
        assert any(line.startswith(file) for line in run(*words, here=grid)[1])


def test_a_mix_is_named(folder, run):
    mix = tuple({"--grid": "--mix", "3x2": "letters"}.get(word, word) for word in HERE)
    assert "mix letters, concurrency 2, 642 + 20 tokens" in run("quiet-1.json", "--update", here=mix)[1]


def test_a_report_is_written_and_replaced(recorded, run):
    for _ in range(2):
        code, out, _ = run("slow.json", "--report", "out")
        assert (code, out[-1]) == (1, "report in out: serving.json, serving.md")
    assert json.loads(Path("out/serving.json").read_text())["red"] is True
    page = Path("out/serving.md").read_text()
    assert page.startswith("## Serving: 1 point, 1 red\n")
    assert "| TTFT ms | 1,863 | 2,421 | +30.0 % |" in page


def test_a_report_replaces_no_file_of_others(recorded, run):
    Path("out").mkdir()
    Path("out/serving.md").write_text("mine")
    code, _, (error,) = run("slow.json", "--report", "out")
    assert code == 2
    assert "out/serving.md was not written by ocrsweep: move it away" in error
    assert Path("out/serving.md").read_text() == "mine"


def test_a_sweeps_report_stays_beside_it(recorded, run):
    assert run("same.json", "--report", "out")[0] == 0
    files.ready(Path("out"))
    assert owned.put(Path("out"), {"sweep.json": "{}"}) == {}
    assert run("same.json", "--report", "out")[0] == 0
    assert Path("out/sweep.json").read_text() == "{}"


def test_a_slower_run_is_kept_and_three_that_agree_move_the_point(recorded, run):
    _, out, _ = run("slow.json", "--update")
    assert out[-2] == f"{FILE}: 0 added, 0 changed, 0 as before, 1 kept beside what is recorded"
    assert "1 of 3 that must agree; --accept takes it at once" in out[-1]
    slower(Path("slow-2.json"), 0.301)
    slower(Path("slow-3.json"), 0.299)
    _, out, _ = run("slow-2.json", "slow-3.json", "--update")
    assert out[-1] == "grid 3x2, concurrency 2, 12 + 20 tokens moved: 3 runs agree"
    code, out, _ = run("slow.json")
    assert code == 1
    assert "so far have the recorded runs drifted from the first ones; --accept takes new ones" in "\n".join(out)


def test_an_accepted_level_is_green_at_once(recorded, run):
    slower(Path("slow-2.json"), 0.301)
    assert run("slow.json", "slow-2.json", "--accept")[0] == 0
    assert run("slow.json")[0] == 0
    assert run("same.json")[1][-1].startswith("GREEN")


def test_another_version_of_the_engine_is_named(recorded, run):
    newer = (*HERE[:-1], "vllm==0.33.0")
    assert "  engine_version 0.32.0 -> 0.33.0" in run("same.json", here=newer)[1]


def test_a_metric_that_is_no_longer_there_is_named(recorded, run):
    tool_file(Path("lacks.json"), median_ttft_ms=0.0, p99_ttft_ms=...)
    assert "  recorded, and not in what was given: TTFT ms, TTFT p99 ms" in run("lacks.json")[1]


def test_a_wide_margin_is_said(folder, run):
    for number in range(1, 6):
        run(str(DATA / f"vllm-serve-{number}.json"), "--update")
    said = run(str(DATA / "vllm-serve-detailed.json"))[1]
    assert any(re.match(r"cannot see 5 %, by their margins: TTFT ms \(\d\d", line) for line in said)


def test_a_damaged_baseline_is_one_line(recorded, run):
    FILE.write_text(FILE.read_text().replace('"requests": 12', '"requests": 0'))
    code, out, (error,) = run("same.json")
    assert (code, out) == (2, [])
    assert str(FILE) in error
    assert error.endswith("or delete it and record again with --update")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--grid", "3by2"], "--grid: '3by2' is not a crop grid"),
        (["--page", "3x"], "--page: '3x' is not a page's size"),
        (["--grid", "3x2", "--page", "5x5"], "not allowed with argument"),
        (["--engine", "VLLM"], "--engine: an engine's name is of small letters"),
        (["--engine", "vllm=="], "--engine: 'vllm==' names no version"),
        (["--concurrency", "0"], "--concurrency must be at least 1, got 0"),
        (["--update", "--accept"], "not allowed with argument"),
        (["--model", "no-such"], "no-such"),
        (
            ["--grid", "3x2", "--set", "workload.resolution=tiny", "--served-as", "tiny-ocr"],
            "resolution 'tiny' has no crops",
        ),
        (["--gpu", "!!", "--grid", "3x2", "--served-as", "tiny-ocr"], "a GPU's name needs a letter or a digit"),
    ],
)
def test_a_wrong_argument_is_exit_code_2_and_names_the_option(folder, run, words, says):
    code, out, err = run("same.json", *words, here=())
    assert (code, out) == (2, [])
    assert says in err[-1]


def test_no_file_is_a_usage_error(folder, run):
    assert run()[0] == 2


WORDS = ["0", "-1", "1e999", "NaN", "Infinity", "null", "true", '""', "[]", "{}", '"x"', "1" * 400, '"\\ud800"']


def damaged(rng: random.Random, text: str) -> str:
    """A few random changes: a value, a cut, a repeat, a byte."""
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(5)
        at = rng.randrange(len(text) + 1)
        if kind == 0:
            numbers = list(re.finditer(r"-?\d+\.?\d*(?:e-?\d+)?|null|\"[^\"]*\"", text))
            chosen = rng.choice(numbers) if numbers else None
            text = text[: chosen.start()] + rng.choice(WORDS) + text[chosen.end() :] if chosen else text
        elif kind == 1:
            text = text[:at]
        elif kind == 2:
            text = text[:at] + text[rng.randrange(len(text) + 1) :]
        elif kind == 3:
            text = text[:at] + chr(rng.randrange(1, 0x250)) + text[at:]
        else:
            text = re.sub(r'"[a-z_]+": [^,]+, ', lambda match: "" if rng.random() < 0.2 else match[0], text)
    return text


@pytest.mark.parametrize("cases", [30, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", ["vllm-serve-1.json", "vllm-serve-detailed.json", "sglang.jsonl", "aiperf.json", "vllm-throughput.json"]
)
def test_a_damaged_file_is_a_line_and_never_a_traceback(recorded, run, name, cases):
    rng, text, codes = random.Random(name), (DATA / name).read_text(encoding="utf-8"), set()
    for _ in range(cases):
        Path("damaged").write_text(damaged(rng, text), encoding="utf-8", errors="surrogatepass")
        code, _, err = run("damaged", "--new-tokens", "8")
        codes.add(code)
        assert code in (0, 1, 2)
        assert len(err) == (code == 2)
    assert 2 in codes


def test_the_real_file_is_what_the_tests_begin_with(folder, run):
    assert json.loads(SERVE.read_text())["model_id"] == "tiny-ocr"
    assert run(str(SERVE), "--update")[0] == 0
