"""The history file: it only grows, survives a kill and a merge of branches, and names its damaged line."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import pytest
from drifting import H200, KEY, NS, PERCENTS, record, time

from pytest_ocrsweep.baselines import history, timed
from pytest_ocrsweep.baselines.anchor import Became
from pytest_ocrsweep.baselines.attribution import Observed
from pytest_ocrsweep.baselines.evidence import Process
from pytest_ocrsweep.baselines.power_cap import PowerCap
from pytest_ocrsweep.errors import BaselineError
from pytest_ocrsweep.files import appending, atomic

NEXT = "2027-01-01T00:00:00Z"


@pytest.fixture
def times(tmp_path):
    """A file of times with a history of eleven processes."""
    return record(tmp_path)


@pytest.fixture
def path(times):
    return history.file_of(times)


def update(times, percent: float = 2.2, date: str = NEXT):
    return timed.record(times, *H200, {KEY: (time(round(NS * (1 + percent / 100)), 20), None)}, date)


def test_every_process_is_a_line_with_its_date_card_and_what_became_of_it(path):
    assert path.name == "decode.history.jsonl"
    entries = history.read(path).entries
    assert [entry.became for entry in entries] == ["first", *["agrees"] * 4, "disagrees", *["agrees"] * 5]
    assert [entry.taken.process.median_ns for entry in entries] == [round(NS * (1 + p / 100)) for p in PERCENTS]
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["date"], first["grid"], first["clock"], first["sm_clock_mhz"]) == (
        "2026-03-01T12:00:00Z",
        "2x3",
        "cuda-graph",
        1980,
    )
    assert first["environment"]["gpu_uuid"] == "GPU-003f2a10-0000"


def test_a_line_is_read_back_as_it_was_written(times, path):
    assert {entry.sm_clock_mhz for entry in history.read(path).entries} == {1980}
    unknown = replace(time(NS, 20), observed=Observed(tensor_flops=2**40, kernels=771))
    timed.record(times, *H200, {KEY: (unknown, None)}, NEXT)
    assert history.read(path).entries[-1].sm_clock_mhz is None


def test_a_line_says_how_an_engine_was_started(times, path):
    before = history.read(path).entries[-1].taken.environment
    started = replace(before, engine_start="encoder_graphs=true")
    timed.record(times, *H200, {KEY: (replace(time(NS, 20), environment=started), None)}, NEXT)
    assert history.read(path).entries[-1].taken.environment == started
    assert sum("engine_start" in line for line in path.read_text().splitlines()) == 1


def test_a_history_is_no_program_and_begins_with_nothing(path):
    assert path.stat().st_mode & 0o111 == 0
    assert history.History().whole_bytes == 0


def test_an_update_appends_and_rewrites_nothing(times, path):
    before = path.read_bytes()
    update(times)
    assert path.read_bytes().startswith(before)
    assert len(history.read(path).entries) == len(PERCENTS) + 1


def test_no_history_is_no_error(tmp_path):
    assert history.read(tmp_path / "none.jsonl") == history.History()


def test_a_torn_last_line_is_said_left_out_and_replaced(times, path):
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema": 1, "date"')
    assert history.read(path).torn
    assert len(history.read(path).entries) == len(PERCENTS)
    (line,) = update(times).lines
    assert line == f"{path}: its last line was torn, and is left out: a writer was killed"
    assert path.read_bytes().startswith(whole)
    assert len(history.read(path).entries) == len(PERCENTS) + 1
    assert not history.read(path).torn


def test_a_last_line_without_its_end_is_whole(times, path):
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(history.read(path).entries) == len(PERCENTS)
    assert update(times).lines == ()
    assert len(history.read(path).entries) == len(PERCENTS) + 1


def test_merged_branches_are_read_by_date_and_each_line_once(path):
    lines = path.read_text().splitlines(keepends=True)
    expected = history.read(path).entries
    path.write_text("".join([*lines[4:], *lines[:6], *lines[2:3]]))
    assert history.read(path).entries == expected


DAMAGE = {
    ('"median_ns": 223000000', '"median_ns": "fast"'): "median_ns must be a whole number of at least 1, got 'fast'",
    ('"median_ns": 223000000', '"median_ns": 1'): "median_ns must lie between q1_ns",
    ('"became": "first"', '"became": "lost"'): "became must be one of first, agrees, disagrees, moved, accepted, got",
    ('"became": "first"', '"became": []'): "became must be one of",
    ("2026-03-01T12:00:00Z", "yesterday"): "date must be such as 2026-03-01T12:00:00Z, got 'yesterday'",
    ("2026-03-01T12:00:00Z", "2026-13-01T12:00:00Z"): "date is '2026-13-01T12:00:00Z', which is no date: month must be",
    ('"gpu": "NVIDIA H200"', '"gpu": "NVIDIA H100"'): "it is of 'NVIDIA H100', and this folder is of nvidia-h200",
    ('"gpu": "NVIDIA H200"', '"gpu": "?"'): "a GPU's name needs a letter or a digit to be a folder, got",
    ('"gpu_uuid": "', '"gpu_id": "'): r"nothing else \(see gpu_id, gpu_uuid\)",
    ('"host": "node1"', '"host": 1'): "host must be text or null, got 1",
    ('"power_cap": null', '"power_cap": {"share": 2}'): "power_cap.share must be above 0 and at most 1, got 2",
    ('"by": null', '"by": 3'): "by must be text or null, got 3",
    ('"clock": "cuda-graph"', '"clock": "sundial"'): "clock must be one of",
    ('"grid": "2x3"', '"grid": "two"'): "'two' is not a crop grid",
    ('"schema": 1', '"schema": 0'): "its schema is 0, not 1",
    ('"schema": 1', '"schema": true'): "its schema is True, not 1",
    ('{"schema"', '<<<<<<< ours\n{"schema"'): r"it is not JSON",
    ('{"schema"', '[]\n{"schema"'): "it must hold schema, date",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda pair: pair[1][:30])
def test_a_damaged_line_is_one_error_that_says_where_and_what_to_do(times, path, damage):
    old, new = damage
    assert path.read_text().count(old) >= 1
    path.write_text(path.read_text().replace(old, new, 1))
    before = path.read_bytes(), times.read_bytes()
    with pytest.raises(BaselineError) as raised:
        update(times)
    line = str(raised.value)
    assert re.match(rf"damaged history {re.escape(str(path))}:1: .*{DAMAGE[damage]}", line)
    assert "\n" not in line
    assert line.endswith("delete this line, or git's marks of a conflict around it: every other line stands by itself")
    assert (path.read_bytes(), times.read_bytes()) == before


def test_a_line_of_a_later_version_is_never_called_damaged_nor_torn(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-1], lines[-1].replace('"schema": 1', '"schema": 2')]))
    with pytest.raises(BaselineError, match=r":11: its schema is 2, of a later version .* install the pytest-ocrsweep"):
        history.read(path)


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(BaselineError, match=r"folder\.jsonl: the history cannot be read \(Is a directory\)"):
        history.read(tmp_path / "folder.jsonl")


def test_a_history_that_grew_too_large_says_what_to_do(path, monkeypatch):
    monkeypatch.setattr(history, "MOST_BYTES", 100)
    with pytest.raises(BaselineError, match=r"it has more than 100 bytes\); move its first lines to another file"):
        history.read(path)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("killed", [NEXT, "2026-03-20T00:00:00Z"], ids=["in order", "a clock that was ahead"])
def test_a_kill_between_the_history_and_the_file_loses_nothing_and_doubles_nothing(times, path, monkeypatch, killed):
    def kill(*_):
        raise Killed

    before = times.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "replace", kill)
        with pytest.raises(Killed):
            update(times, date=killed)
    assert times.read_bytes() == before
    assert len(history.read(path).entries) == len(PERCENTS) + 1
    update(times, date="2027-01-02T00:00:00Z")
    (its,) = [entry for entry in history.read(path).entries if entry.date == killed]
    assert len(history.read(path).entries) == len(PERCENTS) + 1
    assert timed.read(times, *H200)[KEY].taken[-1] == its.taken


def test_a_kill_before_the_history_leaves_both_files_as_they_were(times, path, monkeypatch):
    def kill(descriptor, content, at):
        os.write(descriptor, content[:40])
        raise Killed

    before = times.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(appending, "append", kill)
        with pytest.raises(Killed):
            update(times)
    assert times.read_bytes() == before
    assert len(history.read(path).entries) == len(PERCENTS)
    update(times)
    assert len(history.read(path).entries) == len(PERCENTS) + 1


def test_a_full_disk_leaves_the_history_as_it_was(times, path, monkeypatch):
    before = path.read_bytes(), times.read_bytes()

    def full(descriptor, content):
        os.pwrite(descriptor, bytes(content[:40]), os.fstat(descriptor).st_size)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(appending.os, "write", full)
        with pytest.raises(OSError, match="No space left on device") as raised:
            update(times)
    assert raised.value.filename == str(path)
    assert (path.read_bytes(), times.read_bytes()) == before


def test_the_same_time_again_is_a_process_more(times, path):
    update(times)
    update(times, date="2027-01-02T00:00:00Z")
    assert len(history.read(path).entries) == len(PERCENTS) + 2


def test_an_acceptance_is_a_line_with_who_and_when(times, path):
    was = timed.accept(times, *H200, KEY, "Ada", NEXT)
    assert was.change == pytest.approx(0.011, abs=0.002)
    last = history.read(path).entries[-1]
    assert (last.became, last.by, last.date) == (Became.ACCEPTED, "Ada", NEXT)
    assert timed.read(times, *H200)[KEY].anchor.since == NEXT


def test_a_process_under_the_power_cap_is_read_back_as_such(times, path):
    capped = time(NS, 20)
    capped = replace(capped, process=replace(capped.process, power_cap=PowerCap(0.8, 1700)))
    timed.record(times, *H200, {KEY: (capped, None)}, NEXT)
    assert history.read(path).entries[-1].taken.process.power_cap == PowerCap(0.8, 1700)
    assert timed.read(times, *H200)[KEY].pending[-1].process.power_cap == PowerCap(0.8, 1700)


def test_a_removed_point_keeps_its_history(times, path):
    before = path.read_bytes()
    timed.remove(times, *H200, [KEY])
    assert path.read_bytes() == before


def processes(*percents: float) -> list[Process]:
    return [time(round(NS * (1 + percent / 100))).process for percent in percents]


@pytest.mark.parametrize(
    ("percents", "found"),
    [
        ((0, 0.2, -0.1, 0.1, 0), []),
        ((0, 0.2, 0.1, 5, 5.1, 4.9, 5), [3]),
        ((0, 0.2, 0.1, -5, -5.1, -4.9, 0, 0.1, 0), [3, 6]),
        ((0, 0.2, 0.1, 5, 0, 5, 5, 0), []),  # moved, and did not stay
        ((0, 0.2, 0.1, 5, -5, 5), []),  # not on one side
        ((0, 0.1, -0.1, 0.1, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0), [7]),  # by little
        ((0,), []),
        ((), []),
    ],
)
def test_a_change_point_is_where_three_processes_in_a_row_leave_the_level_before_them(percents, found):
    assert history.changes(processes(*percents)) == found
