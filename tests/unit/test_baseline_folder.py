"""Which folders hold a set of baselines: whatever was recorded in them, the next run must find it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_ocrsweep.sweep.baseline_folder import find, holds


@pytest.mark.parametrize(
    "file",
    [
        "deepseek-ocr/decode.json",
        "deepseek-ocr/timed/nvidia-h200/decode.json",
        "deepseek-ocr/vllm/decode.json",
        "deepseek-ocr/q8_0/vision.json",
        "deepseek-ocr/vllm/fp8/decode.json",
        "deepseek-ocr/vllm/timed/nvidia-h200/decode.json",
        "deepseek-ocr/own/tuned/timed/cpu/call.json",
        "deepseek-ocr/serving/nvidia-h100.json",
    ],
)
def test_a_set_of_anything_that_is_recorded_is_found_again(tmp_path: Path, file: str) -> None:
    (tmp_path / "baselines" / file).parent.mkdir(parents=True)
    (tmp_path / "baselines" / file).write_text("{}")
    assert holds(tmp_path / "baselines")
    assert find("", tmp_path, writes=False).path == tmp_path / "baselines"


@pytest.mark.parametrize("file", ["notes.json", "decode.json", "deepseek-ocr/notes.txt", "deepseek-ocr/notes.json"])
def test_other_files_are_no_set(tmp_path: Path, file: str) -> None:
    (tmp_path / "baselines" / file).parent.mkdir(parents=True)
    (tmp_path / "baselines" / file).write_text("{}")
    assert not holds(tmp_path / "baselines")
