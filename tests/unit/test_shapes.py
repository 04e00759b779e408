"""Databases of shapes: what they hold, how they are swept, and one line for all that can be wrong with one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_ocrsweep.errors import ShapesError, SourceError
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.sweep import shapes
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.grid_entry import GridEntry
from pytest_ocrsweep.sweep.grid_sources import entries
from pytest_ocrsweep.sweep.made_for import SweptFor
from pytest_ocrsweep.sweep.shapes import counts


@pytest.fixture
def written(tmp_path):
    """Writes the shapes of some crop counts and gives the file's path."""

    def write(numbers=range(1, 41), *overrides: str, name: str = "shapes.sqlite") -> Path:
        shapes.write(tmp_path / name, *shapes.shapes(numbers, compose(overrides), max_aspect=4))
        return tmp_path / name

    return write


def rows(path: Path, select: str = "SELECT * FROM shapes ORDER BY crops") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(select).fetchall()


def swept(source: object, *overrides: str) -> list[str]:
    return [str(entry.grid) for entry in entries(str(source), SweptFor.of(compose(overrides)))]


def refusal_lines(source: object, *overrides: str) -> list[str]:
    """The lines of the refusal; none when the source is read."""
    try:
        swept(source, *overrides)
    except SourceError as error:
        return str(error).splitlines()
    return []


def refusal(source: object, *overrides: str) -> str:
    (line,) = refusal_lines(source, *overrides)
    return line


def test_a_row_is_the_most_square_grid_on_its_side_with_all_that_follows_from_it(written):
    path = written([1, 6, 12])
    assert rows(path) == [
        (1, 1, 1, 640, 640, 273, 283, "global view", 0, 0),
        (6, 2, 3, 1920, 1280, 893, 903, "crops", 0, 0),
        (12, 3, 4, 2560, 1920, 1503, 1513, "none", 0, 0),
    ]


def test_every_row_is_what_geometry_says_of_its_grid(written):
    for crops, grid_rows, columns, width, height, image, context, *_ in rows(written(range(1, 301))):
        work = Workload(CropGrid(grid_rows, columns))
        assert (crops, width, height) == (grid_rows * columns, columns * 640, grid_rows * 640)
        assert (image, context) == (work.image_tokens, work.context_tokens)
        assert not any(crops % n == 0 for n in range(grid_rows + 1, columns))


def test_the_vendor_runs_the_global_view_and_2_to_9_crops(written):
    found = dict(rows(written(), "SELECT crops, vendor_support FROM shapes"))
    assert [crops for crops, support in found.items() if support == "crops"] == list(range(2, 10))
    assert [crops for crops, support in found.items() if support == "global view"] == [1]


def test_a_strip_has_more_columns_to_a_row_than_the_limit(written):
    strips = [crops for (crops,) in rows(written(range(1, 14)), "SELECT crops FROM shapes WHERE is_strip")]
    assert strips == [5, 7, 11, 13]  # 1x4 is at the limit


def test_beyond_positions_is_a_context_of_more_tokens_than_the_model_has_positions(written):
    path = written(range(1, 41), "model.decoder.max_positions=1513")
    beyond = dict(rows(path, "SELECT crops, context_tokens FROM shapes WHERE is_beyond_positions"))
    assert min(beyond.values()) > 1513
    assert 12 not in beyond  # exactly as many
    assert rows(path, "SELECT max_positions FROM made_for") == [(1513,)]


def test_the_resolution_and_the_prompt_are_those_of_the_workload(written):
    path = written([6], "workload.resolution=gundam-m", "workload.prompt_tokens=0")
    ((width, height, image, context),) = rows(
        path, "SELECT width_px, height_px, image_tokens, context_tokens FROM shapes"
    )
    assert (width, height) == (3 * 1024, 2 * 1024)
    assert image == context == Workload(CropGrid(2, 3), resolution="gundam-m").image_tokens


def test_a_resolution_without_crops_has_no_shapes():
    with pytest.raises(ShapesError, match="resolution 'base' has no crops"):
        shapes.shapes([1], compose(["workload.resolution=base"]), 4)


def test_the_tables_are_strict_and_keyed(written):
    with closing(sqlite3.connect(written())) as database:
        for wrong in ("'two'", "12"):  # of another type; there already
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(f"INSERT INTO shapes SELECT {wrong}, 3, 4, 1, 1, 1, 1, 'none', 0, 0")


def test_writing_again_leaves_only_what_was_last_asked_for(written, tmp_path):
    written(range(1, 41))
    assert len(rows(written(range(100, 103)))) == 3
    assert os.listdir(tmp_path) == ["shapes.sqlite"]


def test_writing_says_whether_it_replaced(tmp_path):
    made = shapes.shapes([2], compose(), 4)
    assert [shapes.write(tmp_path / "a.db", *made) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("content", [b"", b"notes", b"SQLite format 3\0" + bytes(200)])
def test_a_foreign_file_is_never_overwritten(written, tmp_path, content):
    (tmp_path / "shapes.sqlite").write_bytes(content)
    with pytest.raises(ShapesError, match="is not a database of shapes: it is left as it is"):
        written()
    assert (tmp_path / "shapes.sqlite").read_bytes() == content


def test_another_programs_database_is_never_overwritten(written, tmp_path):
    with closing(sqlite3.connect(tmp_path / "shapes.sqlite")) as database:
        database.execute("CREATE TABLE shapes (crops)")
    with pytest.raises(ShapesError, match="choose another name"):
        written()


def test_a_folder_is_no_database(written, tmp_path):
    (tmp_path / "shapes.sqlite").mkdir()
    with pytest.raises(ShapesError, match="is not a database of shapes"):
        written()
    assert "it is not a database of shapes" in refusal(tmp_path / "shapes.sqlite")


def test_a_damaged_database_of_ours_is_replaced(written):
    path = written()
    path.write_bytes(path.read_bytes()[:5000])
    assert len(rows(written())) == 40


def test_a_write_that_fails_leaves_the_old_file(written, monkeypatch):
    path = written()
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        written(range(1, 3))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_sqlite_without_strict_tables_is_named(written, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ShapesError, match=r"3\.37 or later is needed"):
        written()


def test_the_whole_database_is_swept_in_the_order_of_its_crops(written):
    assert swept(written([12, 2, 1]))[:3] == ["1x1", "1x2", "3x4"]


@pytest.mark.parametrize("ending", [".sqlite", ".sqlite3", ".db"])
def test_each_ending_of_a_database_is_read(written, ending):
    assert swept(written([6], name=f"a b?#%{ending}")) == ["2x3"]


@pytest.mark.parametrize(
    ("selection", "grids"),
    [
        ("6", ["2x3"]),
        ("6..9", ["2x3", "1x7", "2x4", "3x3"]),
        ("1..40/10", ["1x1", "1x11", "3x7", "1x31"]),
        ("2..9/3", ["1x2", "1x5", "2x4"]),
    ],
)
def test_a_selection_is_by_crops_with_both_ends_and_a_step_from_the_first(written, selection, grids):
    assert swept(f"{written()}:{selection}") == grids


def test_a_selection_may_lie_over_gaps(written):
    assert swept(f"{written(range(10, 101, 10))}:10..35") == ["2x5", "4x5", "5x6"]


def test_what_the_vendor_does_not_run_is_analytic_only_and_marks_are_labels(written):
    few = "model.decoder.max_positions=1500"
    found = entries(str(written([1, 7, 9, 10, 13], few)), SweptFor.of(compose([few])))
    assert found == [
        GridEntry(CropGrid(1, 1)),
        GridEntry(CropGrid(1, 7), "strip"),
        GridEntry(CropGrid(3, 3)),
        GridEntry(CropGrid(2, 5), analytic_only=True),
        GridEntry(CropGrid(1, 13), "strip, beyond positions", analytic_only=True),
    ]


@pytest.mark.parametrize("text", ["", "x", "1..", "..9", "1..9/", "1-9", "-1..3", "1...9", "1..9/2/2", "1 .. 9", "٣"])
def test_what_is_no_range_is_told_how_one_looks(text):
    with pytest.raises(ShapesError, match=r"write FIRST\.\.LAST or FIRST\.\.LAST/STEP, as 1\.\.1000/10"):
        counts(text)


@pytest.mark.parametrize("text", ["0", "0..3", "9..3", "1..9/0", "1..1000001"])
def test_a_range_goes_up_from_one(text):
    with pytest.raises(ShapesError, match="crop counts go up, from 1 to at most 1,000,000"):
        counts(text)


@pytest.mark.parametrize("selection", ["1..41", "41", "0..3", "9..3", ""])
def test_a_wrong_selection_names_the_file_and_the_range(written, selection):
    path = written()
    message = refusal(f"{path}:{selection}")
    assert repr(str(path)) in message
    assert "41 goes beyond it: it holds 40 counts from 1 to 40" in message or "crop counts" in message


def test_a_selection_of_nothing_says_what_is_there(written):
    path = written(range(10, 101, 10))
    assert "none of the counts chosen is in it: it holds 10 counts from 10 to 100" in refusal(f"{path}:11..19")


def test_a_missing_file_is_told_how_to_make_one(tmp_path):
    assert "there is no such file; to make one: ocrsweep shapes --db FILE" in refusal(tmp_path / "no.sqlite:1..3")


@pytest.mark.parametrize("content", [b"", b"2x3", b"SQLite format 3\0" + bytes(200)])
def test_a_foreign_file_is_not_swept(tmp_path, content):
    (tmp_path / "shapes.db").write_bytes(content)
    assert "it is not a database of shapes" in refusal(tmp_path / "shapes.db")


def test_an_empty_database_and_one_of_another_schema_are_refused(written):
    path = written()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM shapes")
        database.commit()
    assert "it holds no shapes" in refusal(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")
    assert "its schema is 2, 1 is read here" in refusal(path)


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        ("rows = 9", "9x3 is not of 6 crops"),
        ("rows = -2, columns = -3", "-2x-3 is not of 6 crops"),
        ("vendor_support = 'Crops'", "vendor_support of 6 crops"),
    ],
)
def test_a_row_changed_by_hand_against_the_tables_rules_is_damage(written, change, damage):
    path = written()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(f"UPDATE shapes SET {change} WHERE crops = 6")
        database.commit()
    assert f"it is damaged ({damage})" in refusal(path)


@pytest.mark.parametrize("kept", [100, 4096, 5000])
def test_a_truncated_database_is_damaged(written, kept):
    path = written()
    path.write_bytes(path.read_bytes()[:kept])
    assert "it is damaged" in refusal(path)


def test_a_file_that_may_not_be_read_says_so(written, monkeypatch):
    path = written()

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    assert "it cannot be read (Permission denied): check its permissions" in refusal(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(100, 12_000), st.binary(min_size=1, max_size=64))
def test_no_damage_ends_in_anything_but_entries_or_a_line(written, at, junk):
    path = written()
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    assert len(refusal_lines(path)) <= 1


@pytest.mark.parametrize(
    ("made", "swept_for"),
    [
        ("model=deepseek-ocr", "model=deepseek-ocr-tiny"),
        ("workload.resolution=gundam", "workload.resolution=gundam-m"),
        ("workload.resolution=gundam-m", "workload.resolution=gundam"),
        ("workload.prompt_tokens=10", "workload.prompt_tokens=50"),
        ("model.decoder.max_positions=8192", "model.decoder.max_positions=32768"),
    ],
)
def test_shapes_of_other_settings_are_refused_and_both_are_named(written, made, swept_for):
    path = written([1, 2, 3], made)
    line = refusal(f"{path}:2", swept_for)
    assert f"it was made for {made}" in line
    assert f"this sweep is of {swept_for}" in line
    assert f"ocrsweep shapes --db FILE --set {swept_for}" in line
    assert swept(f"{path}:2", made) == ["1x2"]


def test_settings_that_shapes_do_not_depend_on_may_differ(written):
    assert swept(written([2]), "workload.batch=8", "workload.new_tokens=7", "device=l40s") == ["1x2"]


@pytest.mark.parametrize("change", ["DELETE FROM made_for", "INSERT INTO made_for VALUES ('x', 'gundam', 10, 1, 4)"])
def test_shapes_that_do_not_say_what_they_were_made_for_are_damaged(written, change):
    path = written([1, 2])
    with closing(sqlite3.connect(path)) as database:
        database.execute(change)
        database.commit()
    assert "it is damaged (it does not say what it was made for); write it anew" in refusal(path)
