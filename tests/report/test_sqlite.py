"""Runs in SQLite: each document comes back as it went in, and no damaged or foreign file is believed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from documents import documents, own, point, report, vendor, with_own
from hypothesis import HealthCheck, given, settings

from pytest_ocrsweep.baselines.energy import EnergyResult
from pytest_ocrsweep.baselines.metrics import METRICS, analytic_names
from pytest_ocrsweep.baselines.result import Analytic
from pytest_ocrsweep.baselines.result_json import REMEDY, from_json, to_json
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.files import database
from pytest_ocrsweep.report import sqlite, sqlite_schema, sqlite_upgrade


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.sqlite"


def query(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(sql).fetchall()


def line(error: pytest.ExceptionInfo[ReportError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents())
def test_any_document_comes_back_as_it_went_in(path, whole):
    path.unlink(missing_ok=True)
    read = from_json(whole, "given")
    assert sqlite.read(path, sqlite.write(read, path)) == read
    assert to_json(sqlite.read(path)) == to_json(read) == whole


def test_parts_come_back_in_the_order_they_run(path):
    parts = {name: point()["components"]["head"] for name in ("z", "a/b", "m")}
    sqlite.write(report(point(components=parts)), path)
    assert list(sqlite.read(path).points[0].components) == ["z", "a/b", "m"]


def test_a_column_says_its_unit_and_holds_the_documents_number(path):
    sqlite.write(report(), path)
    columns = "tensor_flops, read_bytes, device_median_ns, wall_q3_ns, floor_ns, mfu_ratio, power_w, gate_margin_ratio"
    assert query(path, f"SELECT {columns} FROM points") == [
        (10**12, 5 * 10**9, 20_000_000, 60_060_000, 1_152_063, 0.05, 612.5, 0.0127)
    ]
    parts = query(path, "SELECT part, tensor_flops FROM components ORDER BY position")
    assert parts == [("decoder/attn", 1), ("head", 2)]
    assert query(path, "SELECT clocked, count(*) FROM samples GROUP BY 1") == [("device_ns", 10), ("wall_ns", 5)]


def test_what_was_not_measured_is_null(path):
    sqlite.write(report(point(vendor=None, floor=None)), path)
    assert query(path, "SELECT device_median_ns, vendor_peak_bytes, floor_ns FROM points") == [(None, None, None)]


def test_a_counted_columns_comment_stands_beside_it_where_there_is_one(path):
    sqlite.write(report(), path)
    ((sql,),) = query(path, "SELECT sql FROM sqlite_master WHERE name = 'points'")
    beside = {line.split()[0]: line.partition("),")[2].strip() for line in sql.splitlines() if ">= 0)," in line}
    comments = {name: METRICS[name].comment for name in analytic_names()}
    assert {name: beside[name] for name in comments} == {
        name: f"-- {comment}" if comment else "" for name, comment in comments.items()
    }
    assert "" in beside.values()


@pytest.mark.parametrize(("table", "paths"), [("runs", sqlite_schema.RUN), ("points", sqlite_schema.POINT)])
def test_every_column_has_a_place_in_the_document(path, table, paths):
    sqlite.write(report(), path)
    columns = {name for (name,) in query(path, f"SELECT name FROM pragma_table_info('{table}')")}
    assert columns - {"run", "more", "written_utc", "sha256"} == paths.keys()


def test_the_tables_are_strict_and_tied_by_keys(path):
    sqlite.write(report(), path)
    strict = {name for (name,) in query(path, "SELECT name FROM pragma_table_list WHERE strict")}
    assert strict == {"runs", "points", "components", "samples"}
    key = [name for (name,) in query(path, "SELECT name FROM pragma_table_info('points') WHERE pk ORDER BY pk")]
    assert key == ["run", "stage", "grid", "attention"]
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM runs")
        left = [db.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("points", "components", "samples")]
    assert left == [(0,)] * 3


@pytest.mark.parametrize(
    "change",
    [
        "stage = 'training'",
        "attention = 'ring'",
        "grid = '0x3'",
        "read_bytes = -1",
        "read_bytes = 'many'",
        "device_median_ns = 0",
        "device_q1_ns = device_median_ns + 1",
        "wall_q3_ns = 1",
        "floor_device = NULL",
        "tensor_flops = NULL",
    ],
)
def test_the_tables_refuse_what_cannot_be(path, change):
    sqlite.write(report(), path)
    with pytest.raises(sqlite3.IntegrityError):
        query(path, f"UPDATE points SET {change}")


def test_a_file_holds_many_runs_and_gives_the_last_one_or_any(path):
    found = [report(point(tensor_flops=n), git_revision=f"r{n}") for n in (1, 2, 3)]
    assert [sqlite.write(each, path) for each in found] == [1, 2, 3]
    assert sqlite.read(path) == found[2]
    assert [sqlite.read(path, run) for run in (1, 2, 3)] == found
    assert sqlite.runs(path) == [1, 2, 3]


def test_the_last_run_again_is_not_another_run(path):
    first, second = report(), report(point(tensor_flops=1))
    assert [sqlite.write(each, path) for each in (first, first, second, first, first)] == [1, 1, 2, 3, 3]


@pytest.mark.parametrize("kept", ["points", "components", "samples"])
def test_rows_that_a_lost_run_left_never_become_a_new_ones(path, kept):
    for found in (report(), report(point("vision", vendor=vendor()))):
        sqlite.write(found, path)
    for table in {"runs", "points", "components", "samples"} - {kept}:
        query(path, f"DELETE FROM {table} WHERE run = 2")
    before = path.read_bytes()
    with pytest.raises(ReportError) as error:
        sqlite.write(report(point(tensor_flops=7)), path)
    assert "the run cannot be written (rows of no run have the number 2): nothing was changed" in line(error)
    assert path.read_bytes() == before


def test_a_run_without_points_is_a_run(path):
    empty = replace(report(), points=())
    sqlite.write(empty, path)
    assert sqlite.read(path) == empty


@pytest.mark.parametrize(("count", "known"), [(1, "1"), (5, "1, 2, 3, 4, 5"), (6, "1 to 6")])
def test_a_run_that_is_not_there_is_told_those_that_are(path, count, known):
    for number in range(count):
        sqlite.write(report(point(tensor_flops=number)), path)
    with pytest.raises(ReportError) as error:
        sqlite.read(path, 7)
    assert line(error) == f"{path}: it has no run 7: choose from {known}"


def foreign(path: Path) -> None:
    query(path, "CREATE TABLE shapes (crops INTEGER)")


def marked(path: Path) -> None:
    query(path, "PRAGMA user_version = 9")


def newer(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "PRAGMA user_version = 9")


def emptied(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "DELETE FROM runs")


def edited(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "UPDATE points SET read_bytes = read_bytes + 1")


def odd(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "UPDATE points SET more = '[]'")


def infinite(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, """UPDATE points SET more = '{"of_mine": [NaN]}'""")


NOT_NULL = ("TEXT    NOT NULL,  -- JSON: what else the point", "TEXT             ,  -- JSON: what else the point")


def declare(path: Path, old: str, new: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'points'", (old, new))


def nothing(path: Path) -> None:
    """What damage to a row's header makes of it, although the column's declaration forbids it."""
    sqlite.write(report(), path)
    declare(path, *NOT_NULL)
    query(path, "UPDATE points SET more = NULL")
    declare(path, *reversed(NOT_NULL))
    assert query(path, "SELECT more FROM points") == [(None,)]


def orphaned(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "DELETE FROM points")


def truncated(path: Path) -> None:
    sqlite.write(report(), path)
    path.write_bytes(path.read_bytes()[:9000])


def not_a_database(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{}" * 500)


def extended(path: Path) -> None:
    sqlite.write(report(), path)
    query(path, "CREATE VIEW more AS SELECT 1")


def piped(path: Path) -> None:
    sqlite.write(report(), path)
    os.mkfifo(f"{path}-journal")


WRITE, OTHER = "write one with --ocrsweep-report=DIR", "give another file"
DAMAGE = {
    foreign: ("it is a SQLite database, but not one of sweeps: ", OTHER),
    marked: ("it is a SQLite database, but not one of sweeps: ", OTHER),
    newer: ("its tables are of version 9, but this one uses 5: ", REMEDY),
    extended: ("its view 'more' is not ours, so it is not a database of version 5: ", REMEDY),
    emptied: ("it holds no run: ", WRITE),
    edited: ("run 1 is not what was written (its sha256 differs); ", REMEDY),
    odd: ("it cannot be read (more is not a JSON object: []); ", REMEDY),
    infinite: ("run 1: points[0].of_mine holds nan, which is not a number", REMEDY),
    orphaned: ("it cannot be read (its tables do not fit together); ", REMEDY),
    nothing: ("it cannot be read (its tables do not fit together); ", REMEDY),
    truncated: ("it cannot be read (", REMEDY),
    not_a_database: ("it cannot be read (file is not a database); ", REMEDY),
    piped: ("it cannot be read (sweep.sqlite-journal is not a regular file): ", OTHER),
    Path.touch: ("it holds no run: ", WRITE),
    lambda path: None: ("there is no such file: ", WRITE),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: getattr(damage, "__name__", ""))
def test_a_file_that_cannot_be_trusted_is_one_clear_line(path, damage):
    damage(path)
    with pytest.raises(ReportError) as error:
        sqlite.read(path)
    what, remedy = DAMAGE[damage]
    assert line(error).startswith(f"{path}: {what}")
    assert line(error).endswith(remedy)


@pytest.mark.parametrize("damage", [foreign, marked, newer, truncated, not_a_database])
def test_a_file_that_is_not_ours_is_left_as_it_is(path, damage):
    damage(path)
    before = path.read_bytes()
    with pytest.raises(ReportError) as error:
        sqlite.write(report(point(tensor_flops=5)), path)
    assert line(error).startswith(f"{path}: ")
    assert path.read_bytes() == before


def read_or_trouble(path: Path) -> Report | str:
    try:
        return sqlite.read(path)
    except ReportError as error:
        return str(error)


def test_no_flipped_byte_is_believed(path):
    """Each damaged file reads as what was written, or not at all."""
    good = report(point(), point("decode"))
    sqlite.write(good, path)
    content = path.read_bytes()
    told = []
    for at in range(0, len(content), 997):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        found = read_or_trouble(path)
        if isinstance(found, str):
            told.append(found)
        else:
            assert found == good
    assert told
    assert [text for text in told if "\n" in text] == []


UNWRITTEN = ": the run cannot be written ({}): nothing was changed"


def deep(levels: int) -> list[object]:
    nested: list[object] = []
    for _ in range(levels):
        nested = [nested]
    return nested


def negative(good: Report) -> Report:
    """A report that no reader would take."""
    (point,) = good.points
    return replace(good, points=(replace(point, analytic=Analytic({**point.analytic.numbers, "read_bytes": -1})),))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (report(point(read_bytes=2**63)), UNWRITTEN.format("a number is above 2^63, the most that SQLite holds")),
        (report(point(verdict="\ud800")), UNWRITTEN.format("text that is not Unicode")),
        (replace(report(), extra={"of_mine": deep(10**5)}), UNWRITTEN.format("it is nested too deeply")),
        (
            replace(report(), extra={"of_mine": float("nan")}),
            f" is not written: of_mine holds nan, which is not a number; {REMEDY}",
        ),
        (
            negative(report()),
            f" is not written: points[0].analytic.read_bytes must be a whole number of at least 0, got -1; {REMEDY}",
        ),
        (
            report(point(vendor=vendor(power_w=-1.0))),
            UNWRITTEN.format("CHECK constraint failed: power_w >= 0") + "; give another folder",
        ),
    ],
    ids=["large", "text", "deep", "nan", "negative", "refused by the tables"],
)
def test_a_run_that_cannot_be_written_changes_nothing(path, wrong, what):
    sqlite.write(report(), path)
    before = path.read_bytes()
    with pytest.raises(ReportError) as error:
        sqlite.write(wrong, path)
    assert line(error) == f"{path}{what}"
    assert path.read_bytes() == before
    assert sqlite.read(path) == report()


def test_a_run_that_finds_no_room_changes_nothing(path):
    resource = pytest.importorskip("resource", reason="this system has no limits on files")
    sqlite.write(report(), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
    try:
        with pytest.raises(ReportError) as error:
            sqlite.write(report(*(point(grid=f"1x{columns}") for columns in range(1, 40))), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert line(error).startswith(f"{path}: the run cannot be written (")
    assert line(error).endswith("): nothing was changed; free some space there, or give another folder")
    assert sqlite.read(path) == report()
    assert path.read_bytes() == before


def test_what_stands_beside_the_file_is_said_with_what_to_do(path):
    piped(path)
    with pytest.raises(ReportError) as error:
        sqlite.write(report(), path)
    assert line(error) == (
        f"{path}: the run cannot be written (sweep.sqlite-journal is not a regular file): nothing was changed; "
        "move away what stands in its place, or give another folder"
    )


def test_a_folder_in_the_way_is_said(path):
    path.mkdir()
    with pytest.raises(ReportError, match="the run cannot be written"):
        sqlite.write(report(), path)


KILLED = """
import os, sqlite3, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from documents import point, report
from pytest_ocrsweep.report import sqlite
connect = sqlite3.connect
def watched(*args, **options):
    db = connect(*args, **options)
    db.execute("PRAGMA cache_size = 1")  # pages go to the file before the transaction ends
    db.set_trace_callback(lambda statement: statement.startswith(sys.argv[2]) and os._exit(9))
    return db
sqlite3.connect = watched
many = [point(grid=f"{rows}x{columns}") for rows in range(1, 21) for columns in range(1, 21)]
sqlite.write(report(*many), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["INSERT INTO runs", "INSERT INTO components", "INSERT INTO samples", "COMMIT"])
def test_a_killed_write_leaves_the_old_file_whole(path, moment):
    old = report(point("decode", "1x1"))
    sqlite.write(old, path)
    command = [sys.executable, "-c", KILLED, str(path), moment, str(Path(__file__).parents[1] / "support")]
    assert subprocess.run(command).returncode == 9
    assert sqlite.runs(path) == [1]
    assert sqlite.read(path) == old
    assert sqlite.write(report(), path) == 2


def test_a_killed_first_write_leaves_a_file_to_write_to(path):
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(path),
        "INSERT INTO points",
        str(Path(__file__).parents[1] / "support"),
    ]
    assert subprocess.run(command).returncode == 9
    with pytest.raises(ReportError, match="it holds no run"):
        sqlite.read(path)
    assert sqlite.write(report(), path) == 1


def test_processes_that_write_at_once_wait_for_one_another(path):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from documents import point, report; from pytest_ocrsweep.report import sqlite\n"
        "for n in range(5): sqlite.write(report(point(tensor_flops=n), git_revision=sys.argv[3]), Path(sys.argv[1]))"
    )
    here = str(Path(__file__).parents[1] / "support")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), here, name]) for name in ("a", "b")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(sqlite.runs(path)) == 10


LOST = "the run cannot be written (it is damaged: its tables do not fit together): nothing was changed; move it away"


def test_a_run_is_not_said_to_be_written_where_it_cannot_be_read_back(path, monkeypatch):
    """As where a page is damaged: SQLite takes the rows, and finds other ones."""
    sqlite.write(report(), path)
    query(path, "CREATE TRIGGER t AFTER INSERT ON samples BEGIN DELETE FROM samples WHERE run = NEW.run; END")
    before = path.read_bytes()
    monkeypatch.setattr(database, "trust", lambda db, sql: db.set_progress_handler(None, 0))
    with pytest.raises(ReportError) as error:
        sqlite.write(report(point(tensor_flops=7)), path)
    assert line(error) == f"{path}: {LOST}"
    assert path.read_bytes() == before


def test_a_run_that_somebody_changed_is_not_taken_for_the_same_run_again(path):
    sqlite.write(report(), path)
    query(path, "UPDATE points SET read_bytes = 7")
    with pytest.raises(ReportError) as error:
        sqlite.write(report(), path)
    assert line(error) == f"{path}: {LOST}"


# Files of earlier versions


@pytest.mark.parametrize("version", sqlite_upgrade.VIEWS)
def test_a_file_of_a_version_with_fewer_views_is_read_and_gets_them_with_its_next_run(path, version):
    sqlite.write(report(), path)
    for name in ("moved", "energy", "own", "own_moved"):
        if f"VIEW {name} " not in sqlite_upgrade.VIEWS[version]:
            query(path, f"DROP VIEW {name}")
    query(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    assert sqlite.read(path) == report()
    assert path.read_bytes() == before
    assert sqlite.write(replace(report(), model="another"), path) == 2
    assert query(path, "PRAGMA user_version") == [(sqlite_schema.VERSION,)]
    views = query(path, "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name")
    assert views == [("energy",), ("moved",), ("own",), ("own_moved",)]
    assert sqlite.read(path, 1) == report()


def test_a_view_has_the_energy_of_each_point_that_was_asked_for_it(path):
    found = report()
    (first,) = found.points
    assert first.vendor is not None
    energy = EnergyResult(7_123.4, 512.0, 110.5, outcome="pass", change=0.001, margin=0.02)
    with_energy = replace(first, vendor=replace(first.vendor, energy=energy, absent=first.vendor.absent - {"energy"}))
    other = replace(first, attention="eager" if first.attention == "flash" else "flash")  # was not asked for it
    sqlite.write(replace(found, points=(with_energy, other)), path)
    wanted = "SELECT stage, energy_mj, power_w, idle_w, outcome, change_ratio, margin_ratio, why FROM energy"
    assert query(path, wanted) == [(first.stage, 7_123.4, 512.0, 110.5, "pass", 0.001, 0.02, None)]
    assert with_energy.vendor in [each.vendor for each in sqlite.read(path).points]


def test_views_have_code_of_the_users_own_and_what_moved_of_it(path):
    found = with_own(own(), own("render", "call", verdict="PASS", moved=[]))
    sqlite.write(found, path)
    assert sqlite.read(path) == found
    rows = query(
        path, "SELECT name, stage, grid, attention, gpu, verdict, time_ns, change_ratio, margin_ratio FROM own"
    )
    assert rows == [
        ("tuned", "decode", "2x3", "flash", "NVIDIA H200", "FAIL", 20_000_000, 0.25, 0.02),
        ("render", "call", None, None, "NVIDIA H200", "PASS", 20_000_000, 0.25, 0.02),
    ]
    moved = query(path, "SELECT name, metric, old, new, change_ratio, margin_ratio, causes, accept FROM own_moved")
    accept = "pytest test_mine.py --ocrsweep-update"
    assert moved == [("tuned", "device_ns", 16_000_000, 20_000_000, 0.25, 0.02, "[]", accept)]
    sqlite.write(report(), path)
    assert query(path, "SELECT DISTINCT run FROM own UNION SELECT DISTINCT run FROM own_moved") == [(1,)]


# Files of version 1


def of_version_1(path: Path, *changes: str) -> Path:
    """What version 1 wrote: a run of two points, one of them with nothing but counts, and a run of one point."""
    dump = (Path(__file__).parent / "data/version-1.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(dump)
        for statement in (
            *changes,
            f"PRAGMA application_id = {sqlite_schema.APPLICATION_ID}",
            "PRAGMA user_version = 1",
        ):
            db.execute(statement)
    return path


def test_a_file_of_version_1_is_read_and_left_as_it_is(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    before = of_version_1(path).read_bytes()
    decode, prefill = sorted(sqlite.read(path, 1).points, key=lambda each: each.stage)
    assert prefill.floor is not None
    assert (prefill.floor.kernel_limit_ns, prefill.estimate, decode.floor) == (15_000_000, None, None)
    assert sqlite.read(path).points[0].extra == {"mood": "good"}
    assert [len(sqlite.read(path, run).points) for run in sqlite.runs(path)] == [2, 1]
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_run_that_is_added_to_a_file_of_version_1_makes_it_one_of_today(path):
    of_version_1(path)
    old = [sqlite.read(path, run) for run in (1, 2)]
    assert sqlite.write(report(), path) == 3
    assert query(path, "PRAGMA user_version") == [(sqlite_schema.VERSION,)]
    assert [sqlite.read(path, run) for run in (1, 2, 3)] == [*old, report()]
    written = "SELECT DISTINCT written_utc < '2027' FROM runs WHERE run < 3"
    assert query(path, written) == [(1,)]


def test_a_run_of_version_1_that_somebody_changed_is_refused_before_and_after(path):
    of_version_1(path, "UPDATE points SET read_bytes = 7 WHERE run = 2")
    for _ in range(2):
        with pytest.raises(ReportError) as error:
            sqlite.read(path, 2)
        assert line(error).startswith(f"{path}: run 2 is not what was written")
        assert len(sqlite.read(path, 1).points) == 2
        sqlite.write(report(), path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE points SET more = '[]'",
        "UPDATE points SET more = '{'",
        "UPDATE runs SET more = '[]'",
        "DELETE FROM points",
    ],
)
def test_a_run_is_not_added_to_a_damaged_file_of_version_1_which_stays_as_it_is(path, change):
    before = of_version_1(path, change).read_bytes()
    with pytest.raises(ReportError) as error:
        sqlite.write(report(), path)
    assert line(error).startswith(f"{path}: ")
    assert path.read_bytes() == before


def test_a_file_of_version_1_with_something_beside_our_tables_is_refused(path):
    of_version_1(path, "CREATE VIEW more AS SELECT 1")
    before = path.read_bytes()
    for act in (lambda: sqlite.read(path), lambda: sqlite.write(report(), path)):
        with pytest.raises(ReportError) as error:
            act()
        assert line(error).startswith(f"{path}: its view 'more' is not ours, so it is not a database of version 1")
    assert path.read_bytes() == before
