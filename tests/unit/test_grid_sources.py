"""Every form a sweep source may take, and one clear line for everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_ocrsweep.errors import SourceError
from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.sweep import grid_sources
from pytest_ocrsweep.sweep.grid_entry import GridEntry
from pytest_ocrsweep.sweep.grid_sources import NAMED, choice, entries
from pytest_ocrsweep.sweep.made_for import SweptFor

GUNDAM = SweptFor("deepseek-ocr", "gundam", prompt_tokens=10, max_positions=8192)


@pytest.fixture
def written(tmp_path):
    """Writes a YAML file and gives its path."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "grids.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def grids(source: str) -> list[str]:
    return [str(entry.grid) for entry in entries(source, GUNDAM)]


def refusal_lines(source: str) -> list[str]:
    """The lines of the refusal; none when the source is read."""
    try:
        entries(source, GUNDAM)
    except SourceError as error:
        return str(error).splitlines()
    return []


def refusal(source: str) -> str:
    (message,) = refusal_lines(source)
    return message


def test_vendor_is_every_grid_of_at_most_nine_crops():
    assert [entry.grid for entry in entries("vendor", GUNDAM)] == CropGrid.upto(9)


def test_pairs_is_every_factor_pair_of_2_to_29_crops():
    found = {(entry.grid.rows, entry.grid.columns) for entry in entries("pairs", GUNDAM)}
    assert found == {(r, c) for r in range(1, 30) for c in range(r, 30) if 2 <= r * c <= 29}
    assert len(entries("pairs", GUNDAM)) == 53


def test_dense_is_the_most_square_grid_of_each_product_to_1000():
    found = [entry.grid for entry in entries("dense", GUNDAM)]
    assert [grid.rows * grid.columns for grid in found] == list(range(1, 1001))
    for grid in found:
        assert grid.rows <= grid.columns
        assert not any(grid.rows * grid.columns % r == 0 for r in range(grid.rows + 1, grid.columns))


def test_a_list_keeps_its_order_and_drops_repeats():
    assert grids("3x2, 1x2,3X2,2×3") == ["3x2", "1x2", "2x3"]


def test_the_documented_example_reads_as_documented(written):
    example = grid_sources.__doc__.partition("the list:\n\n")[2]
    assert entries(written(example), GUNDAM) == [
        GridEntry(CropGrid(2, 3)),
        GridEntry(CropGrid(13, 20), "poster", analytic_only=True),
        GridEntry(CropGrid.for_image(1240, 1754), "A4 at 150 dpi"),
    ]


def test_a_mapping_may_wrap_the_list(written):
    assert grids(written("grids:\n  - 2x3\n  - 1x1\n")) == ["2x3", "1x1"]


def test_an_image_is_width_then_height(written):
    assert grids(written("- image: [6000, 1000]")) == ["1x6"]


def test_a_grid_named_twice_is_one_entry_with_both_labels(written):
    twice = "- {grid: 2x3, label: a, analytic_only: true}\n- 1x1\n- {grid: 2x3, label: b}\n"
    assert entries(written(twice), GUNDAM) == [GridEntry(CropGrid(2, 3), "a, b"), GridEntry(CropGrid(1, 1))]


def test_a_byte_order_mark_is_no_obstacle(written):
    assert grids(written(b"\xef\xbb\xbf- 2x3")) == ["2x3"]


@pytest.mark.parametrize("source", ["vender", "", "2by3", "\0", "no-such-file.yaml", "x" * 5000])
def test_an_unknown_source_is_told_every_form(source):
    message = refusal(source)
    assert "a named set (vendor, pairs, dense), grids (1x2,2x3), or an existing file (.yaml, .yml, .sqlite" in message


@pytest.mark.parametrize("source", ["1x2,2y3", "1x2,", "0x3", "1x2,,2x3"])
def test_a_list_with_a_wrong_grid_names_it(source):
    assert "this list of grids" in refusal(source)


def test_a_folder_and_another_kind_of_file_are_refused(tmp_path):
    (tmp_path / "grids.toml").write_text("2x3")
    (tmp_path / "folder.yaml").mkdir()
    assert "only .yaml, .yml, .sqlite, .sqlite3, .db are read" in refusal(str(tmp_path / "grids.toml"))
    assert "only .yaml, .yml, .sqlite, .sqlite3, .db are read" in refusal(str(tmp_path))
    assert "cannot be read (Is a directory)" in refusal(str(tmp_path / "folder.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- {grid: 2x3, lable: a}", "entry 1 (line 1): unknown key 'lable': did you mean 'label'?"),
        ("- {grid: 2x3, zzz: a}", "unknown key 'zzz': valid keys: grid, image, label, analytic_only"),
        ("- 1x1\n- grid: 2x3\n  grid: 3x2", "entry 2 (line 2): key 'grid' is there twice (line 3): keep one"),
        ("- {grid: 2x3, image: [1, 2]}", "give either `grid: ROWSxCOLUMNS` or `image: [WIDTH, HEIGHT]`"),
        ("- label: a", "give either `grid: ROWSxCOLUMNS` or `image: [WIDTH, HEIGHT]`"),
        ("- grid: [2, 3]", "grid must be ROWSxCOLUMNS, for example 2x3, got '[2, 3]'"),
        ("- 2y3", "'2y3' is not a crop grid"),
        ("- ", "'' is not a crop grid"),
        ("- image: [0, 3]", "image must be [WIDTH, HEIGHT] in whole pixels from 1, got '[0, 3]'"),
        ("- image: [1, 2, 3]", "in whole pixels from 1, got '[1, 2, 3]'"),
        ("- image: [1.5, 2]", "in whole pixels from 1, got '[1.5, 2]'"),
        ("- image: 1x2", "in whole pixels from 1, got '1x2'"),
        (f"- image: [1{'0' * 400}, 1]", "in whole pixels from 1"),
        ("- {grid: 2x3, label: 5}", "label must be one line of text, in quotes if need be, got '5'"),
        ("- {grid: 2x3, label: [a]}", "label must be one line of text, in quotes if need be, got '[a]'"),
        ('- {grid: 2x3, label: "a\\nb"}', "label must be one line of text"),
        ("- {grid: 2x3, analytic_only: 1}", "analytic_only must be true or false, got '1'"),
        ("- {grid: 2x3, analytic_only: 'true'}", "analytic_only must be true or false"),
        ("- [2x3]", "an entry is a grid such as 2x3 or a mapping, got '[2x3]'"),
        ("grid: 2x3", "unknown key 'grid': did you mean 'grids'?"),
        ("grids: []\ngrids: []", "key 'grids' is there twice"),
        ("2x3", "must hold a list of grids, for example `- 2x3`, got '2x3'"),
        ("", "is empty: list at least one grid"),
        ("# only a comment", "is empty: list at least one grid"),
        ("grids:", "is empty: list at least one grid"),
        ("a: b: c", "is not readable YAML: line 1: mapping values are not allowed here"),
        ("- 1x1\n---\n- 1x2", "is not readable YAML: line 2: expected a single document"),
        ("[" * 5000, "is nested too deeply"),
        ("- &a [x, x]\n- &b [*a, *a]\n- [*b, *b]", "line 2: aliases and tags are not read here"),
        ("- &a 2x3\n- *a", "line 2: aliases and tags are not read here"),
        ("- !!python/object/apply:os.getcwd []", "line 1: aliases and tags are not read here"),
        ("- \a", "is not readable YAML: unacceptable character"),
        (b"- 2x3 # \xff", "is not UTF-8 text (byte 8): save it as UTF-8"),
        ("- 2x3".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_a_wrong_file_says_where_and_what_to_do(written, content, message):
    source = written(content)
    refused = refusal(source)
    assert message in refused
    assert repr(source) in refused


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(max_size=80),
        st.lists(
            st.sampled_from(
                ["- ", "grid: ", "2x3", "\n", "  ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "'", '"\\U']
            ),
            max_size=16,
        ).map("".join),
    ).filter(lambda text: not isinstance(text, str) or text.isprintable() or text.isascii())
)
def test_no_file_whatever_it_holds_ends_in_anything_but_entries_or_a_line(written, content):
    source = written(content)
    assert len(refusal_lines(source)) <= 1


@given(st.text(max_size=40))
def test_no_words_whatever_they_are_end_in_anything_but_entries_or_a_line(source):
    assert len(refusal_lines(source)) <= 1


def test_every_named_set_names_each_grid_once():
    for name in NAMED:
        assert len(set(grids(name))) == len(entries(name, GUNDAM))


@pytest.mark.parametrize(
    ("resolution", "grid"), [("gundam", "2x2"), ("gundam-m", "1x1"), ("base", "1x1"), ("large", "1x1"), ("tiny", "1x1")]
)
def test_a_page_is_cut_at_the_resolution_that_is_swept(written, resolution, grid):
    (entry,) = entries(written("- image: [900, 900]"), replace(GUNDAM, resolution=resolution))
    assert str(entry.grid) == grid


def test_the_models_own_grids_at_a_resolution_without_crops_are_one():
    assert entries("vendor", replace(GUNDAM, resolution="base")) == [GridEntry(CropGrid(1, 1))]


def test_a_choice_reads_the_source_for_each_workload(written):
    chosen = choice(written("- image: [900, 900]"), "deepseek-ocr")
    assert chosen(Workload("2x2"))
    assert not chosen(Workload("1x1"))
    assert chosen(Workload("1x1", resolution="gundam-m"))
    assert not chosen(Workload("2x2", resolution="gundam-m"))
