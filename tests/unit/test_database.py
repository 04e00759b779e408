"""SQLite files that others wrote: nothing in them is run, nothing beside them is followed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from documents import point, report

from pytest_ocrsweep.errors import ReportError, ShapesError
from pytest_ocrsweep.files import database
from pytest_ocrsweep.report import sqlite
from pytest_ocrsweep.sweep import shapes
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.made_for import SweptFor

LONG = "length(hex(zeroblob(30)))"  # with 300,000,000 it takes 1.4 GB
PLANTED = {
    "CREATE INDEX slow ON {table} (" + LONG + ")": "its index 'slow' is not ours",
    "CREATE INDEX handy ON {table} ({column})": "its index 'handy' is not ours",
    "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n": "its view 'v'",
    "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN SELECT 1; END": "its trigger 't' is not ours",
    "CREATE TABLE mine (x)": "its table 'mine' is not ours",
    "ALTER TABLE {table} ADD COLUMN g INT AS (" + LONG + ")": "its table",
    "ALTER TABLE {table} ADD COLUMN d TEXT DEFAULT 'x'": "its table",
    "DROP TABLE {other}": "its table '{other}' is missing",
    "ANALYZE": "its table 'sqlite_stat1' is not ours",
}


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


@pytest.fixture
def of_runs(tmp_path: Path) -> Path:
    sqlite.write(report(), tmp_path / "sweep.sqlite")
    return tmp_path / "sweep.sqlite"


@pytest.fixture
def of_shapes(tmp_path: Path) -> Path:
    shapes.write(tmp_path / "shapes.sqlite", *shapes.shapes(range(1, 10), compose(), max_aspect=4))
    return tmp_path / "shapes.sqlite"


@pytest.mark.parametrize("sql", PLANTED)
def test_runs_are_neither_read_from_nor_added_to_a_database_with_more_or_less_than_our_schema(of_runs, sql):
    change(of_runs, sql.format(table="points", column="grid", other="samples"))
    before = of_runs.read_bytes()
    for use in (lambda: sqlite.write(report(point("decode")), of_runs), lambda: sqlite.read(of_runs)):
        with pytest.raises(ReportError, match=PLANTED[sql].format(other="samples")) as error:
            use()
        assert "\n" not in str(error.value)
    assert of_runs.read_bytes() == before


@pytest.mark.parametrize("sql", PLANTED)
def test_shapes_are_not_read_from_a_database_with_more_or_less_than_our_schema(of_shapes, sql):
    change(of_shapes, sql.format(table="shapes", column="rows", other="made_for"))
    with pytest.raises(ShapesError, match=PLANTED[sql].format(other="made_for")) as error:
        shapes.read(str(of_shapes), None, SweptFor("deepseek-ocr", "gundam", 10))
    assert "\n" not in str(error.value)


def test_two_objects_that_are_alike_are_not_one(of_shapes):
    with closing(sqlite3.connect(of_shapes)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master SELECT * FROM sqlite_master WHERE name = 'made_for'")
        db.commit()
    with pytest.raises(ShapesError):
        shapes.read(str(of_shapes), None, SweptFor("deepseek-ocr", "gundam", 10))


def test_a_schema_without_end_is_given_up(tmp_path):
    path = tmp_path / "many.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("CREATE TABLE one (x)")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
        db.execute(
            f"INSERT INTO sqlite_master {numbers} SELECT 'table', 't' || i, 't' || i, 2, "
            "'CREATE TABLE t' || i || ' (x)' FROM n"
        )
        db.commit()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"), database.opened(path, "ro") as db:
        database.trust(db, "CREATE TABLE one (x)")


def test_a_read_cannot_write_and_no_value_is_huge(of_runs):
    with database.opened(of_runs, "rw") as db:
        for sql in ("DELETE FROM runs", "ATTACH ':memory:' AS other", "SELECT zeroblob(100000000)"):
            with pytest.raises(sqlite3.Error):
                db.execute(sql).fetchall()


def link(path: Path) -> None:
    path.symlink_to(path.parent / "precious")


@pytest.mark.parametrize("suffix", database.BESIDE)
@pytest.mark.parametrize("plant", [link, os.mkfifo, Path.mkdir])
def test_what_is_no_file_beside_a_database_is_refused(of_runs, suffix: str, plant: Callable[[Path], object]):
    precious = of_runs.parent / "precious"
    precious.write_text("kept")
    plant(Path(f"{of_runs}{suffix}"))
    for use in (lambda: sqlite.write(report(point("decode")), of_runs), lambda: sqlite.read(of_runs)):
        with pytest.raises(ReportError, match=f"sweep.sqlite{suffix} is not a regular file"):
            use()
    assert precious.read_text() == "kept"


def test_a_journal_that_names_another_file_is_refused_and_that_file_stays(of_runs):
    """SQLite plays it back, and then deletes the file that it names."""
    precious = of_runs.parent / "precious"
    precious.write_text("kept")
    name = os.fsencode(precious)
    page = (1).to_bytes(4, "big")
    header = bytes.fromhex("d9d505f920a163d7") + page * 2 + bytes(4) + (2).to_bytes(4, "big")
    header += (512).to_bytes(4, "big") + (4096).to_bytes(4, "big")
    record = (262145).to_bytes(4, "big") + name + len(name).to_bytes(4, "big")
    record += sum(name).to_bytes(4, "big") + database.NAMES_ANOTHER
    Path(f"{of_runs}-journal").write_bytes(header.ljust(512, b"\0") + record)
    with pytest.raises(ReportError, match=r"sweep\.sqlite-journal names another file"):
        sqlite.read(of_runs)
    assert precious.read_text() == "kept"


def test_a_report_of_many_points_is_written_to_a_new_database(tmp_path):
    many = [point(grid=f"{rows}x{columns}") for rows in range(1, 31) for columns in range(1, 31)]
    assert sqlite.write(report(*many), tmp_path / "sweep.sqlite") == 1


@pytest.mark.parametrize(
    ("byte", "written", "read"),
    [
        (b"\x80", "(it is damaged: 'utf-8' codec *): nothing was changed; move it away", "('utf-8' codec *)"),
        (
            b"\x19",
            "(malformed database schema *): nothing was changed; give another *",
            "(malformed database schema *)",
        ),
    ],
    ids=["not UTF-8", "not printable"],
)
def test_damage_that_sqlite_quotes_is_one_line_and_stays(of_runs, byte, written, read):
    damaged = of_runs.read_bytes().replace(b"TABLE points (", b"TABLE points " + byte)
    of_runs.write_bytes(damaged)
    for use, told in (
        (lambda: sqlite.write(report(point("decode")), of_runs), f"the run cannot be written {written}"),
        (lambda: sqlite.read(of_runs), f"it cannot be read {read}; make it again with --ocrsweep-report=DIR"),
    ):
        with pytest.raises(ReportError) as error:
            use()
        assert str(error.value).isprintable()
        assert fnmatchcase(str(error.value), f"{of_runs}: {told}")
    assert of_runs.read_bytes() == damaged
