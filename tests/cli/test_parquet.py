"""`ocrsweep sweep --parquet`: every combination of the axes, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.cli import main
from pytest_ocrsweep.model import bulk
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def space(tmp_path, capsys):
    """Sweeps into a file and gives its rows."""

    def run(*words: str) -> list[dict]:
        path = tmp_path / "space.parquet"
        assert main(["sweep", "--parquet", str(path), *words]) == 0
        rows = parquet.read_table(path).to_pylist()
        assert capsys.readouterr().out.startswith(f"{path}: {len(rows):,} points of ")
        assert list(tmp_path.iterdir()) == [path]
        return rows

    return run


def test_every_combination_of_the_axes_is_counted_for_every_stage_and_attention(space, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 7)
    rows = space("--rows", "1..2", "--cols", "1,3", "--batch", "1..5/2", "--prompt-tokens", "0", "--new-tokens", "9,2")
    model = load_model()
    assert len(rows) == 3 * 2 * 2 * 2 * 3 * 2
    keys = [(stage, attention) for stage in STAGES for attention in ATTENTION]
    assert list(dict.fromkeys((row["stage"], row["attention"]) for row in rows)) == keys
    cells = [(row["rows"], row["cols"], row["batch"], row["prompt_tokens"], row["new_tokens"]) for row in rows[:24]]
    assert cells == [(r, c, b, 0, n) for r in (1, 2) for c in (1, 3) for b in (1, 3, 5) for n in (9, 2)]
    for row in rows:
        assert (row["model"], row["resolution"]) == ("deepseek-ocr", "gundam")
        work = Workload(CropGrid(row["rows"], row["cols"]), row["prompt_tokens"], row["new_tokens"], row["batch"])
        ledger = model.ledger(row["stage"], work, row["attention"])
        assert row["tensor_flops"] == ledger.total().tensor_flops
        assert row["peak_activation_bytes"] == ledger.peak_activation_bytes


def test_without_axes_the_settings_and_their_grids_are_swept(space):
    words = (
        "--stage",
        "decode",
        "--attention",
        "flash",
        "--set",
        "workload.batch=3",
        "--set",
        "model=deepseek-ocr-tiny",
    )
    rows = space("--grids", "1x1,2x3", *words)
    assert [(row["model"], row["rows"], row["cols"], row["batch"]) for row in rows] == [
        ("deepseek-ocr-tiny", 1, 1, 3),
        ("deepseek-ocr-tiny", 2, 3, 3),
    ]


def test_an_axis_left_out_is_one_value(space):
    rows = space("--cols", "2..3", "--stage", "vision", "--attention", "eager")
    assert [(row["rows"], row["cols"], row["new_tokens"]) for row in rows] == [(1, 2, 100), (1, 3, 100)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "0..3"], "argument --rows: '0..3': values go up, from 1 on, by a step of at least 1"),
        (["--rows", "3..1"], "argument --rows: '3..1': values go up"),
        (["--rows", "1..9/0"], "argument --rows: '1..9/0': values go up"),
        (["--batch", "many"], "argument --batch: 'many' is neither a number nor FIRST..LAST nor FIRST..LAST/STEP"),
        (["--batch", "1..1000001"], "argument --batch: '1..1000001' has more than 1,000,000 values"),
        (["--rows", "1..9", "--grids", "pairs"], "--grids and --rows or --cols exclude each other"),
        (["--rows", "1..9", "--json"], "--parquet and --json exclude each other"),
        (["--rows", "1..9", "--report", "out"], "--parquet and --report exclude each other"),
        (["--rows", "1..9", "--device", "h100"], "--parquet and --device exclude each other"),
        (["--rows", "1..9", "--set", "workload.resolution=tiny"], "resolution 'tiny' has no crops"),
        (["--rows", "1..1000000", "--cols", "1..1000000", "--batch", "1,2"], "2,000,000,000,000 points are too many"),
        (["--rows", "1000", "--cols", "1..1000", "--batch", "8"], "tensor_flops of prefill at rows=1000, cols=1000,"),
    ],
)
def test_a_wrong_space_is_told_in_one_line_and_leaves_the_old_file(tmp_path, capsys, words, message):
    path = tmp_path / "space.parquet"
    path.write_text("PAR1 old")
    try:
        code = main(["sweep", "--parquet", str(path), *words])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("space.parquet", "PAR1 old")]


def test_a_file_that_is_no_parquet_stays(tmp_path, capsys):
    (tmp_path / "test_mine.py").write_text("mine")
    assert main(["sweep", "--parquet", str(tmp_path / "test_mine.py"), "--rows", "1..2"]) == 2
    assert "there is a file that is not Parquet; give another name" in capsys.readouterr().err
    assert (tmp_path / "test_mine.py").read_text() == "mine"


def test_axes_without_a_file_are_refused(capsys):
    assert main(["sweep", "--new-tokens", "1..9"]) == 2
    assert capsys.readouterr().err == (
        "ocrsweep: --new-tokens has several values: say with --parquet FILE where to write them\n"
    )
    assert main(["sweep", "--rows", "3"]) == 2
    assert capsys.readouterr().err == (
        "ocrsweep: --rows is an axis of a space: say with --parquet FILE where to write it\n"
    )


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_sweep_that_stops_on_its_way_leaves_no_part_of_a_file(tmp_path, monkeypatch, capsys, failure):
    monkeypatch.setattr(bulk, "CHUNK", 5)
    written = []

    def write_table(self, table) -> None:
        if len(written) == 2:
            raise failure
        written.append(table)

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", write_table)
    assert main(["sweep", "--parquet", str(tmp_path / "space.parquet"), "--rows", "1..100"]) != 0
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{tmp_path / 'space.parquet'}: No space left on device" in error or error == "ocrsweep: interrupted\n"


def test_a_folder_in_the_files_place_is_said_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parquet, "ParquetWriter", None)
    assert main(["sweep", "--parquet", str(tmp_path), "--rows", "1"]) == 2
    assert f"{tmp_path}: Is a directory" in capsys.readouterr().err


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path):
    code = "import sys; sys.modules['pyarrow'] = None; from pytest_ocrsweep.cli import main; sys.exit(main())"
    words = ["sweep", "--parquet", "space.parquet"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "ocrsweep: pyarrow is not installed: pip install 'pytest-ocrsweep[columns]'\n"


def test_rows_name_model_engine_and_precision_and_the_file_its_version_and_settings(space, tmp_path):
    words = ["--stage=decode", "--grids=1x2", "--engine=vllm", "--set=precision=fp8", "--set=engine.kv_dtype=fp8"]
    (row,) = space(*words)
    assert [row[name] for name in ("model", "engine", "precision")] == ["deepseek-ocr", "vllm", "fp8"]
    model = load_model(engine="vllm", overrides=["precision=fp8", "engine.kv_dtype=fp8"])
    assert row["weight_bytes"] == model.ledger("decode", Workload("1x2")).weight_bytes
    assert "fp8_tensor_flops" not in row
    about = json.loads(parquet.read_schema(tmp_path / "space.parquet").metadata[b"pytest_ocrsweep"])
    assert about == {
        "version": version("pytest-ocrsweep"),
        "recorded_as": "deepseek-ocr/vllm-kv-fp8/fp8",
        "overrides": ["engine=vllm", "precision=fp8", "engine.kv_dtype=fp8"],
    }


def test_products_of_8_bit_floats_are_a_column_of_every_stage(space):
    rows = space("--grids=1x2", "--engine=vllm", "--set=precision=fp8-w8a8")
    model = load_model(engine="vllm", overrides=["precision=fp8-w8a8"])
    flops = {row["stage"]: row["fp8_tensor_flops"] for row in rows}
    assert flops == {stage: model.ledger(stage, Workload("1x2")).fp8_tensor_flops for stage in flops}
    assert len(flops) == 3
    assert flops["vision"] == 0 < flops["decode"]
