"""A journal of times that are not recorded yet: what is read of it, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace

import pytest
from documents import point, report, vendor

from pytest_ocrsweep.baselines import journal
from pytest_ocrsweep.baselines.journal import SCHEMA, Header, Writer
from pytest_ocrsweep.baselines.measurement import Environment
from pytest_ocrsweep.errors import BaselineError

HEADER = Header(
    SCHEMA, "deepseek-ocr", "1a2b", "batch=1", "3c4d", 0.0, "NVIDIA H200", "580.1", "2.11.0", None, "bf16",
    "random, seed 0", "e5f6", "2026-11-28 09:00:00+00:00",
)  # fmt: skip
GRIDS = ("1x1", "1x2", "2x3")
ROW = b'{"stage"'


@pytest.fixture
def path(tmp_path):
    """A journal of three points."""
    path = tmp_path / HEADER.name
    journal.begin(path, HEADER)
    append(path, *(point(grid=grid) for grid in GRIDS))
    return path


def append(path, *points):
    writer = Writer(path, path.stat().st_size)
    for each in points:
        writer.append(report(each).points[0])
    writer.close()


def read(path):
    return journal.read(path, check=lambda _: None)


def grids(path):
    return [str(each.grid) for each in read(path).points]


def test_a_journal_of_a_later_version_is_never_called_damaged(path):
    header, *rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([changed(header, schema=2) + b"\n", *rows]))
    with pytest.raises(BaselineError) as raised:
        read(path)
    why = "its schema is 2, but this version reads 1; update with the pytest-ocrsweep that wrote it, or delete it (rm "
    assert str(raised.value).startswith(f"{path}:1: {why}")


def test_a_link_is_no_journal(path, tmp_path):
    """Anybody who may write to the folder could put times of their own in its place."""
    link = tmp_path / ".other.ocrsweep-journal"
    link.symlink_to(path)
    with pytest.raises(BaselineError, match=r"cannot be read \(it is a link\); move away what stands in its place"):
        read(link)


def test_what_is_appended_is_read_as_it_was(path):
    found = read(path)
    assert (found.header, found.header.begun) == (HEADER, HEADER.begun)
    assert found.points == [report(point(grid=grid)).points[0] for grid in GRIDS]
    assert (found.whole_bytes, found.torn) == (path.stat().st_size, False)


def test_the_last_line_of_a_point_counts(path):
    append(path, point(grid="1x1", vendor=vendor(median=7_000_000)))
    assert [each.vendor.device_ns.median for each in read(path).points] == [7_000_000, 20_000_000, 20_000_000]


def test_a_journal_is_a_hidden_file_named_by_a_digest(path):
    assert re.fullmatch(r"\.[0-9a-f]{12}\.ocrsweep-journal", path.name)


@pytest.mark.parametrize("floor", [None, {**point()["floor"], "attained": 1.0}], ids=["none", "reached"])
def test_a_time_is_kept_without_a_floor_and_at_it(path, floor):
    append(path, point(grid="1x3", floor=floor))
    assert grids(path) == [*GRIDS, "1x3"]


@pytest.mark.parametrize(
    "tail", [b"{", b'{"stage": "dec', b"\0" * 50, b"\0" * 50 + b"\n", b'{"stage": "decode"}\n'], ids=repr
)
def test_a_torn_last_line_is_left_out_and_overwritten(path, tail):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + tail)
    found = read(path)
    assert (found.torn, found.whole_bytes, grids(path)) == (True, size, list(GRIDS))
    writer = Writer(path, found.whole_bytes)
    writer.append(report(point(grid="1x3")).points[0])
    writer.close()
    assert grids(path) == [*GRIDS, "1x3"]
    assert not read(path).torn


def test_every_cut_of_a_journal_keeps_the_lines_before_it(path):
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in [*range(ends[0], len(whole), 97), *ends, *(end - 1 for end in ends[1:])]:
        path.write_bytes(whole[:cut])
        assert grids(path) == list(GRIDS[: sum(end <= cut for end in ends) - 1])


def changed(line, **fields):
    return json.dumps({**json.loads(line), **fields}).encode()


DAMAGES = {
    "an empty file": (lambda lines: [], r":1: it has no whole line;"),
    "no whole header": (lambda lines: [lines[0][:-1]], r":1: it has no whole line;"),
    "garbage": (lambda lines: [b"\xff\0\n", *lines], r":1: .*;"),
    "a header that is a list": (lambda lines: [b"[]\n", *lines], r":1: must be an object, got \[\];"),
    "a point that is garbage": (lambda lines: [*lines[:2], b"{]\n", *lines[2:]], r":3: it is not JSON \(.*\);"),
    "a point before a torn one": (lambda lines: [*lines[:2], b"7\n", b"{"], r":3: must be an object, got 7;"),
    "a key given twice": (lambda lines: [lines[0], b'{"a": 1, "a": 2}\n', *lines[1:]], r":2: a key is given twice.*;"),
    "no time": (
        lambda lines: [lines[0], changed(lines[1], vendor=None) + b"\n", *lines],
        r":2: it has no time on NVIDIA H200;",
    ),
    "another GPU": (
        lambda lines: [lines[0], changed(lines[1], vendor=vendor(gpu="cpu")) + b"\n", *lines],
        r":2: it has no time on NVIDIA H200;",
    ),
    "a clock nobody knows": (
        lambda lines: [lines[0], changed(lines[1], vendor=vendor(clock="sun")) + b"\n", *lines],
        r":2: clock must be one of .*, got 'sun';",
    ),
    "a field of a field": (
        lambda lines: [lines[0], changed(lines[1], floor={**point()["floor"], "attained": "half"}) + b"\n", *lines],
        r":2: floor\.attained must be .*, got 'half';",
    ),
    "a fraction above 1": (
        lambda lines: [lines[0], changed(lines[1], floor={**point()["floor"], "attained": 1.5}) + b"\n", *lines],
        r":2: floor.attained must be a fraction above 0, got 1.5;",
    ),
    "a fraction that rounds to 0": (
        lambda lines: [lines[0], changed(lines[1], floor={**point()["floor"], "attained": 1e-9}) + b"\n", *lines],
        r":2: floor.attained must be a fraction above 0, got 1e-09;",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_journal_is_refused_in_a_line_that_says_where_and_what_to_do(path, damage, message):
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(BaselineError, match=rf"^damaged journal .*{message} delete it \(rm .*\) [^\n]*$"):
        read(path)


def test_what_is_no_file_is_refused_in_a_line(path):
    path.unlink()
    path.mkdir()
    with pytest.raises(BaselineError, match=r"the journal cannot be read \(Is a directory\); move away"):
        read(path)


def test_a_point_that_the_run_cannot_have_is_refused(path):
    def check(found):
        raise ValueError("not of this run")

    append(path, point(grid="1x3"))
    with pytest.raises(BaselineError, match=r":2: not of this run;"):
        journal.read(path, check)


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "m"), ("architecture", "9"), ("workload", "batch=2"), ("program", "9"), ("slowdown_percent", 2.0)]
    + [
        (name, "9")
        for name in ("gpu", "driver", "torch", "transformers", "dtype", "weights", "git_revision", "engine_start")
    ],
)
def test_every_field_of_a_header_makes_another_journal_and_is_named(name, value):
    other = replace(HEADER, **{name: value})
    assert other != HEADER
    assert other.name != HEADER.name
    assert HEADER.differences(other) == f"{name} {getattr(HEADER, name)} -> {value}"


def test_when_a_run_began_makes_no_other_journal():
    later = replace(HEADER, begun="2026-11-29 09:00:00+00:00")
    assert (later, later.name, later.differences(HEADER)) == (HEADER, HEADER.name, "")


def test_a_header_gives_the_environment_that_is_recorded():
    environment = Environment("node7", "NVIDIA H200", "580.1", "2.11.0", None, "bf16", "random, seed 0", "e5f6")
    assert HEADER.environment("node7") == environment
    started = replace(HEADER, engine_start="enforce_eager=true")
    assert started.environment("node7") == replace(environment, engine_start="enforce_eager=true")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_line_that_cannot_be_written_is_taken_back_and_nothing_more_is_appended(path, monkeypatch, failing):
    real = os.write

    def fail(descriptor, *content):
        if content:
            real(descriptor, bytes(content[0])[:9])  # as a full disk does: it takes some
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = Writer(path, path.stat().st_size)
    writer.append(report(point(grid="1x3")).points[0])
    whole = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            writer.append(report().points[0])
    writer.append(report().points[0])
    assert path.read_bytes() == whole


def test_a_closed_writer_holds_no_file(path):
    def lowest_free():
        descriptor = os.open(path, os.O_RDONLY)
        os.close(descriptor)
        return descriptor

    before = lowest_free()
    writer = Writer(path, path.stat().st_size)
    assert lowest_free() > before
    writer.close()
    assert lowest_free() == before


def test_a_short_write_is_finished(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, bytes(content)[:100]))
    append(path, point(grid="1x3"))
    assert grids(path) == [*GRIDS, "1x3"]


def test_a_line_is_on_the_disk_before_the_next_point(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    sizes = []
    writer = Writer(path, path.stat().st_size)
    for grid in ("1x3", "1x4"):
        writer.append(report(point(grid=grid)).points[0])
        sizes.append(path.stat().st_size)
    writer.close()
    assert synced == sizes


def test_a_link_in_a_journals_place_is_not_written_through(path, tmp_path):
    other = tmp_path / "other"
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        Writer(path, 0)
    assert other.stat().st_size
