"""Baseline files: what is read strictly, merged, and written as one."""

from __future__ import annotations

import errno
import json

import pytest

from pytest_ocrsweep import CropGrid, Workload
from pytest_ocrsweep.baselines.counted import (
    MOST,
    NumberChange,
    PointKey,
    compare,
    dump,
    exactly,
    file_of,
    read,
    record,
    remove,
    whole,
)
from pytest_ocrsweep.baselines.metrics import exact_names
from pytest_ocrsweep.errors import BaselineError
from pytest_ocrsweep.files import atomic


def key(grid: str, attention: str = "flash", **workload: int) -> PointKey:
    return PointKey(Workload(CropGrid.parse(grid), **workload), attention)


def numbers(value: int = 7) -> dict[str, int]:
    return dict.fromkeys(exact_names(), value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "baselines" / "m" / "decode.json"
    record(path, "m", "decode", {key("2x3"): numbers(), key("10x1"): numbers(2**70), key("2x1"): numbers()})
    return path


def test_what_is_recorded_is_read_back_whatever_its_size(file):
    found = read(file, "m", "decode")
    assert found[key("10x1")] == numbers(2**70)
    assert dump("m", "decode", found) == file.read_text()


def test_a_file_that_is_not_there_has_no_points(tmp_path):
    assert read(tmp_path / "none.json", "m", "decode") == {}


def test_points_are_a_line_each_in_the_order_of_their_grids(file):
    lines = [line for line in file.read_text().splitlines() if "grid" in line]
    assert [json.loads(line.rstrip(","))["grid"] for line in lines] == ["2x1", "2x3", "10x1"]


def test_a_record_keeps_what_it_does_not_replace(file):
    done = record(
        file,
        "m",
        "decode",
        {key("2x3"): numbers(8), key("2x1"): numbers(), key("2x3", batch=4): numbers()},
    )
    assert (done.added, done.changed, done.same, done.removed) == (1, 1, 1, 0)
    assert read(file, "m", "decode") == {
        key("10x1"): numbers(2**70),
        key("2x1"): numbers(),
        key("2x3"): numbers(8),
        key("2x3", batch=4): numbers(),
    }


def test_a_point_that_another_process_recorded_anew_is_not_unused_any_more(file):
    assert remove(file, "m", "decode", {key("10x1"): numbers(3)}).removed == 0
    assert read(file, "m", "decode")[key("10x1")] == numbers(2**70)
    assert remove(file, "m", "decode", {key("10x1"): numbers(2**70)}).removed == 1
    assert key("10x1") not in read(file, "m", "decode")


def test_a_record_that_changes_nothing_writes_nothing(file):
    before = file.stat().st_mtime_ns
    record(file, "m", "decode", {key("2x3"): numbers()})
    assert file.stat().st_mtime_ns == before


def test_one_flop_in_many_is_a_change():
    [change] = compare(numbers(10**15), numbers(10**15) | {"tensor_flops": 10**15 + 1})
    assert change == NumberChange("tensor_flops", 10**15, 10**15 + 1)
    assert str(change).startswith("tensor_flops: old 1,000,000,000,000,000, new 1,000,000,000,000,001 FLOP, ")
    assert "difference +1 (" in str(change)


def test_a_change_is_told_in_numbers_and_percent():
    told = "read_bytes: old 20,000, new 19,990 bytes, difference -10 (-0.05 %)"
    assert str(NumberChange("read_bytes", 20_000, 19_990)) == told


def test_a_file_is_found_by_model_and_stage_and_reads_as_a_point_a_line(tmp_path):
    assert file_of(tmp_path, "m", "decode") == tmp_path / "m" / "decode.json"
    about = '  "schema": 1,\n  "model": "m",\n  "stage": "decode",\n'
    workload = '"prompt_tokens": 10, "new_tokens": 100, "batch": 1, "resolution": "gundam", "grid": "2x3"'
    counted = ", ".join(f'"{name}": 7' for name in exact_names())
    points = ",\n".join(f'    {{{workload}, "attention": "{mode}", {counted}}}' for mode in ("eager", "flash"))
    text = f'{{\n{about}  "points": [\n{points}\n  ]\n}}\n'
    assert dump("m", "decode", {key("2x3"): numbers(), key("2x3", "eager"): numbers()}) == text


def test_a_change_from_nothing_has_no_percentage():
    assert str(NumberChange("kv_cache_bytes", 0, 5)).endswith("difference +5 (from 0)")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"batch": 1', '"batch": 1.0', "point 1: batch must be a whole number"),
        ('"batch": 1', '"batch": true', "point 1: batch must be a whole number"),
        ('"read_bytes": 7', '"read_bytes": -7', "read_bytes must be a whole number, got -7"),
        ('"read_bytes": 7', '"read_bytes": NaN', "read_bytes must be a whole number, got nan"),
        ('"read_bytes": 7', '"read_bytes": 1e999', "read_bytes must be a whole number, got inf"),
        ('"read_bytes": 7', '"bytes": 7', r"nothing else \(see bytes, read_bytes\)"),
        ('"read_bytes": 7', '"write_bytes": 7', "a key is given twice"),
        ('"grid": "2x1"', '"grid": "two"', "'two' is not a crop grid"),
        ('"grid": "2x1"', '"grid": 2', "grid and resolution must be text"),
        ('"grid": "2x1"', '"grid": "2x3"', r"decode.json:7: point 2: 2x3 flash is recorded twice"),
        ('"flash"', '"fast"', "attention must be one of eager, flash, got 'fast'"),
        ('"flash"', '["flash"]', "attention must be one of"),
        ('"resolution": "gundam"', '"resolution": "huge"', "unknown resolution 'huge'"),
        ('"points": [', '"points": 3, "x": [', "schema, model, stage and points, and nothing else"),
        ('"schema": 1', '"schema": true', "its schema is True, not 1"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(file, old, new, error):
    damaged = file.read_text().replace(old, new, 1)
    file.write_text(damaged)
    with pytest.raises(BaselineError, match=error) as raised:
        record(file, "m", "decode", {key("1x1"): numbers()})
    assert "\n" not in str(raised.value)
    assert file.read_text() == damaged


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"null", b"{}", b"[" * 100_000])
def test_bytes_that_are_no_baseline_are_refused(file, content):
    file.write_bytes(content)
    with pytest.raises(BaselineError, match=r"decode\.json"):
        read(file, "m", "decode")


def test_damage_in_a_file_that_is_not_a_point_a_line_is_told_without_a_line(file):
    points = json.loads(file.read_text())
    points["points"][1]["grid"] = "two"
    file.write_text(json.dumps(points))
    with pytest.raises(BaselineError, match=r"^damaged baseline .*decode\.json: point 2: 'two' is not a crop grid"):
        read(file, "m", "decode")


def test_a_file_of_a_later_version_is_never_called_damaged(file):
    """To delete it, as a damaged one, would lose what that version recorded."""
    file.write_text('{"schema": 2, "model": "m", "stage": "decode", "points": [], "more": 1}')
    with pytest.raises(BaselineError) as raised:
        read(file, "m", "decode")
    message = "its schema is 2, of a later version than this, which reads 1: install the pytest-ocrsweep that wrote it"
    assert str(raised.value) == f"{file}: {message}"


def test_a_file_that_this_user_may_not_read_is_never_called_damaged(file, monkeypatch):
    def refuse(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pytest_ocrsweep.files.untrusted.read", refuse)
    with pytest.raises(BaselineError) as raised:
        read(file, "m", "decode")
    assert str(raised.value) == f"{file}: it cannot be read (Permission denied); make it readable for this user"


def test_points_that_are_no_list_are_refused(file):
    file.write_text('{"schema": 1, "model": "m", "stage": "decode", "points": {}}')
    with pytest.raises(BaselineError, match=r"^damaged baseline .*decode\.json: its points are not a list; restore it"):
        read(file, "m", "decode")


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(file, monkeypatch):
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(file, "half")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_whole_number_may_be_the_least_and_the_most():
    assert whole({"n": 1}, "n", least=1) == 1
    assert whole({"n": MOST}, "n") == MOST


@pytest.mark.parametrize(
    ("value", "least", "told"),
    [
        (0, 1, "n must be a whole number of at least 1, got 0"),
        (-1, 0, "n must be a whole number, got -1"),
        (MOST + 1, 0, "n must be a whole number, got "),
    ],
)
def test_a_number_out_of_range_is_told_the_range(value, least, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        whole({"n": value}, "n", least)


def test_what_is_no_object_is_told_so():
    with pytest.raises(ValueError, match=r"\(see list\)$"):
        exactly(["n"], ("n",))
