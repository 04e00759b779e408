"""A report's folder that others use too: only what this suite wrote is replaced or removed, never through a link."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from documents import point, report, vendor

from pytest_ocrsweep import cli
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.errors import ReportError
from pytest_ocrsweep.report import files, owned, sqlite
from pytest_ocrsweep.report.charts import charts
from pytest_ocrsweep.report.load import load

SVG = '<svg xmlns="http://www.w3.org/2000/svg" version="1.1" class="marks" width="5"></svg>'
TEXTS = ("sweep.json", "report.md", "index.html", "charts/bytes.svg")


class Drawn:
    """A chart, without the second that it takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def svg(self) -> str:
        return SVG


def two_charts(found: Report, **_: object) -> list[Drawn]:
    return [Drawn("bytes"), *([Drawn("time")] if found.points[0].vendor else [])]


@pytest.fixture(autouse=True)
def quickly_drawn(monkeypatch):
    page = '<!doctype html>\n<a class="skip" href="#points">Skip to the points</a>\n'
    monkeypatch.setattr("pytest_ocrsweep.report.charts.charts", two_charts)
    monkeypatch.setattr("pytest_ocrsweep.report.html.page", lambda *_: page)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path) -> str:
    with pytest.raises(ReportError) as error:
        files.ready(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [*TEXTS, "sweep.sqlite", "charts/time.svg"])
def test_a_file_of_somebody_else_is_refused_before_the_work_and_stays(tmp_path, name, monkeypatch, capsys):
    (tmp_path / "charts").mkdir()
    (tmp_path / name).write_text("mine, and nobody's report")
    before = contents(tmp_path)
    assert f"{name} was not written by ocrsweep: a report replaces only files of its own: move it" in refused(tmp_path)
    monkeypatch.setattr("pytest_ocrsweep.cli.sweep.swept", None)
    assert cli.main(["sweep", "--grids=1x1", "--report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(tmp_path) == before


def test_a_chart_that_a_manifest_does_not_name_is_of_somebody_else(tmp_path):
    files.write(report(point(vendor=None)), tmp_path)
    (tmp_path / "charts" / "time.svg").write_text(SVG)
    assert "charts/time.svg was not written by ocrsweep" in refused(tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_of_ours_that_somebody_changed_is_refused_and_all_else_is_written(tmp_path, name):
    files.write(report(), tmp_path)
    (tmp_path / name).write_text("better")
    assert f"{name} was changed after it was written" in refused(tmp_path)
    with pytest.raises(ReportError, match=f"{name} was changed after it was written: move it away"):
        files.write(report(point(tensor_flops=7)), tmp_path)
    assert (tmp_path / name).read_text() == "better"
    assert sqlite.read(tmp_path / "sweep.sqlite") == report(point(tensor_flops=7))
    (tmp_path / name).unlink()
    files.ready(tmp_path)
    files.write(report(point(tensor_flops=7)), tmp_path)


@pytest.mark.parametrize("name", [*TEXTS, "sweep.sqlite", "charts", owned.MANIFEST])
@pytest.mark.parametrize("leads", ["to a file of ours", "to another", "nowhere"])
def test_nothing_is_written_through_a_link(tmp_path, name, leads):
    folder, outside = tmp_path / "out", tmp_path / "outside"
    if leads == "to a file of ours":
        files.write(report(), folder)
        (folder / name).rename(outside)
    else:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if leads == "to another":
            outside.mkdir() if name == "charts" else outside.write_text("mine")
            if name == "charts":
                (outside / "mine.svg").write_text("mine")
    (folder / name).symlink_to(outside)
    before = {**contents(outside), **({"": outside.read_bytes()} if outside.is_file() else {})}
    refused(folder)
    with pytest.raises(ReportError):
        files.write(report(point(tensor_flops=7)), folder)
    assert {**contents(outside), **({"": outside.read_bytes()} if outside.is_file() else {})} == before
    assert outside.exists() == (leads != "nowhere")


NAMES = ["../../outside/mine.svg", "{outside}/mine.svg", "charts/../../outside/mine.svg", "charts", "", ".", "..", "/"]
PLANTS = {
    **{f"a name: {name}": json.dumps({"schema": 1, "files": {name: ["{digest}"]}}) for name in NAMES},
    "a million names": '{"schema": 1, "files": {' + '"charts/x.svg": [], ' * 10**6 + '"": []}}',
    "many digests": json.dumps({"schema": 1, "files": {"charts/time.svg": ["{digest}"] * 10_000}}),
    "deep": "[" * 10**5,
    "every name of ours": json.dumps({"schema": 1, "files": {name: ["{digest}"] for name in owned.NAMES}}),
}
STANDS = {
    "a folder": lambda path, mine: path.mkdir(),
    "a full folder": lambda path, mine: (path / "mine").mkdir(parents=True),
    "a pipe": lambda path, mine: os.mkfifo(path),
    "a device": lambda path, mine: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),  # /dev/zero never ends
    "a link": lambda path, mine: path.symlink_to(mine),
    "a link to a folder": lambda path, mine: path.symlink_to(mine.parent),
    "a link to itself": lambda path, mine: path.symlink_to(path.name),
    "a hard link": lambda path, mine: path.hardlink_to(mine),
}


@pytest.fixture
def planted(tmp_path):
    """A report's folder beside one of somebody else, which must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine.svg").write_text(SVG)
    (tmp_path / "outside" / "empty").touch()
    (tmp_path / "outside" / ".mine.svg.ocrsweep-lock").write_text("the lock of a link's target")
    folder = tmp_path / "out"
    folder.mkdir()
    before = contents(tmp_path / "outside")
    yield folder
    assert contents(tmp_path / "outside") == before


def no_traceback(folder: Path) -> list[str]:
    """What each way to write a report there says, in a line each."""
    told = []
    for write in (files.ready, lambda folder: files.write(report(point(vendor=None)), folder)):
        try:
            write(folder)
        except ReportError as error:
            told.append(str(error))
    assert all("\n" not in each and len(each) < 3000 for each in told)
    return told


@pytest.mark.parametrize("plant", PLANTS)
def test_whatever_a_manifest_says_nothing_outside_the_folder_is_removed_or_overwritten(planted, plant):
    (planted / "charts").mkdir()
    (planted / "charts" / "time.svg").symlink_to("../../outside/mine.svg")
    text = PLANTS[plant].replace("{digest}", owned.digest(SVG.encode()))
    (planted / owned.MANIFEST).write_text(text.replace("{outside}", str(planted.parent / "outside")))
    assert len(no_traceback(planted)) == (1 if plant in ("many digests", "every name of ours") else 2)
    assert (planted / "charts" / "time.svg").is_symlink()


@pytest.mark.parametrize("stands", STANDS)
@pytest.mark.parametrize("name", [owned.MANIFEST, *TEXTS, "sweep.sqlite", "charts", "charts/time.svg"])
def test_whatever_stands_in_the_place_of_a_file_of_ours_leads_nowhere(planted, stands, name):
    if name == "charts" and stands in ("a folder", "a full folder"):
        return  # as it should be
    (planted / name).parent.mkdir(exist_ok=True)
    try:
        STANDS[stands](planted / name, planted.parent / "outside" / "mine.svg")
    except PermissionError:
        pytest.skip("only root makes devices")
    assert no_traceback(planted) != []


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize("name", ["mine.svg", "empty"])
def test_sqlite_writes_to_nothing_that_was_put_beside_its_database(planted, suffix, link, name):
    files.write(report(), planted)
    getattr(planted / f"sweep.sqlite{suffix}", link)(planted.parent / "outside" / name)
    (problem,) = no_traceback(planted)
    assert "sweep.sqlite: the run cannot be written" in problem


def test_a_database_that_has_another_name_is_not_added_to(planted):
    files.write(report(), planted)
    kept = planted.parent / "backup.sqlite"
    os.link(planted / "sweep.sqlite", kept)
    before = kept.read_bytes()
    what = "sweep.sqlite has another name, under which somebody else may keep it: "
    ready, written = no_traceback(planted)
    assert f"{what}a report replaces only files of its own: move it away" in ready
    assert f"{what}move it away" in written
    assert kept.read_bytes() == before
    assert sqlite.runs(kept) == [1]


def test_a_folder_that_may_not_be_looked_into_is_a_line(planted, monkeypatch):
    real = os.lstat

    def lstat(path: object) -> os.stat_result:
        if str(path).endswith(".svg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    (planted / "charts").mkdir()
    monkeypatch.setattr("os.lstat", lstat)
    assert "charts/time.svg cannot be looked at (Permission denied)" in refused(planted)


def test_what_a_killed_writer_left_is_removed_from_the_folder_and_its_charts_but_not_where_a_link_leads(tmp_path):
    folder = tmp_path / "out"
    (folder / "charts").mkdir(parents=True)
    left = [where / ".a.svg.0123abcd.ocrsweep-draft" for where in (folder, folder / "charts")]
    for each in left:
        each.touch()
    files.write(report(), folder)
    assert not any(each.exists() for each in left)
    (folder / "charts").rename(tmp_path / "outside")
    (folder / "charts").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / left[1].name).touch()
    with pytest.raises(ReportError):
        files.write(report(), folder)
    assert (tmp_path / "outside" / left[1].name).exists()


def test_a_report_is_said_in_the_order_in_which_a_person_reads_it(tmp_path):
    lines = files.write(report(), tmp_path / "a" / "b")
    what = "sweep.json, sweep.sqlite (run 1), summary.json, report.md, 2 charts, index.html"
    assert lines == [f"report in {tmp_path / 'a' / 'b'}: {what}"]


def test_a_report_of_which_nothing_can_be_written_is_not_said_to_be_beside_anything(tmp_path):
    for name in {*TEXTS[:3], "summary.json", "sweep.sqlite", "charts"}:
        (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(ReportError) as error:
        files.write(report(), tmp_path)
    assert f"{tmp_path / 'charts'} is not a folder but a file or a link: {owned.MOVE}" in str(error.value)
    assert "beside it written" not in str(error.value)
    assert refused(tmp_path).count("is not a folder") == 1


def test_a_folder_that_is_itself_a_link_is_written_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    files.ready(tmp_path / "out")
    files.write(report(), tmp_path / "out")
    assert load(tmp_path / "real") == report()


def test_a_folder_of_a_version_without_a_manifest_is_taken(tmp_path):
    files.write(report(point(vendor=vendor())), tmp_path)
    for name in (owned.MANIFEST, owned.SUMMARY):  # that version wrote neither
        (tmp_path / name).unlink()
    (tmp_path / "charts" / "my-logo.svg").write_text(SVG)
    files.ready(tmp_path)
    files.write(report(point(vendor=None)), tmp_path)
    now = contents(tmp_path)
    assert "charts/time.svg" not in now
    assert "charts/my-logo.svg" in now
    assert load(tmp_path) == report(point(vendor=None))


@pytest.mark.parametrize("name", TEXTS[1:])
def test_a_page_of_somebody_else_beside_a_sweep_json_is_not_taken_for_ours(tmp_path, name, capsys):
    files.write(report(), tmp_path)
    (tmp_path / owned.MANIFEST).unlink()
    (tmp_path / name).write_text("<!doctype html>\n## mine\n<svg/>")
    assert f"{name} was not written by ocrsweep" in refused(tmp_path)


@pytest.mark.parametrize("dies_at", range(1, 14))
def test_a_process_that_dies_at_any_rename_leaves_a_folder_that_the_next_one_may_write_to(
    tmp_path, monkeypatch, dies_at
):
    files.write(report(), tmp_path)
    renames, real = iter(range(1, 100)), os.replace

    class Died(BaseException):
        pass

    def replace(*paths: object) -> None:
        if next(renames) >= dies_at:
            raise Died
        real(*paths)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace)
        with pytest.raises(Died):
            files.write(report(point(tensor_flops=7)), tmp_path)
    files.ready(tmp_path)
    files.write(report(point(tensor_flops=8)), tmp_path)
    assert load(tmp_path / "sweep.json") == report(point(tensor_flops=8))


@pytest.mark.parametrize(
    "document",
    ["", "[]", "{}", '{"schema": 1, "files": {"../../x": []}}', '{"schema": 1, "files": {"report.md": 3}}', "mine"],
)
def test_a_manifest_that_is_none_is_a_line_and_stays(tmp_path, document):
    (tmp_path / owned.MANIFEST).write_text(document)
    assert "this is not the list of a report's files" in refused(tmp_path)
    with pytest.raises(ReportError, match="this is not the list of a report's files"):
        files.write(report(), tmp_path)
    assert (tmp_path / owned.MANIFEST).read_text() == document


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ('{"schema": 2, "files": {}}', "its schema is not 1"),
        ('{"schema": 1, "files": []}', "its schema is not 1"),
        ('{"schema": 1, "files": {"../../x": []}}', "'../../x' is no file of a report"),
        ('{"schema": 1, "files": {"report.md": 3}}', "the digests of report.md are not a list"),
        (" " * ((1 << 20) + 1), "it has more than 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said_with_what_to_do(tmp_path, document, why):
    file = tmp_path / ".ocrsweep-report.json"
    file.write_text(document)
    with pytest.raises(ReportError) as error:
        owned.Owned.read(tmp_path)
    assert str(error.value) == f"{file}: this is not the list of a report's files ({why}): move it away"


def test_a_manifest_that_is_a_link_is_said_to_be_one(tmp_path):
    (tmp_path / ".ocrsweep-report.json").symlink_to("elsewhere")
    with pytest.raises(ReportError, match=r"this is not the list of a report's files \(it is a link\): move it away"):
        owned.Owned.read(tmp_path)


def test_a_manifest_of_the_largest_size_is_read(tmp_path):
    (tmp_path / owned.MANIFEST).write_text('{"schema": 1, "files": {}}'.ljust(1 << 20))
    assert owned.Owned.read(tmp_path).digests == {}


def test_a_manifest_is_text_that_a_person_reads_and_git_compares(tmp_path):
    texts = {"report.md": "one", "charts/time.svg": "two", "index.html": "three"}
    assert owned.put(tmp_path, texts) == {}
    assert (tmp_path / ".ocrsweep-report.json").read_text() == "\n".join(
        [
            "{",
            ' "files": {',
            *(
                line
                for name in sorted(texts)
                for line in (
                    f'  "{name}": [',
                    f'   "{owned.digest(texts[name].encode())}"',
                    "  ]" + "," * (name != "report.md"),
                )
            ),
            " },",
            ' "schema": 1',
            "}",
            "",
        ]
    )


def test_of_several_files_each_is_written_whatever_becomes_of_those_before_it(tmp_path, monkeypatch):
    (tmp_path / "report.md").write_text("mine")
    real = os.replace

    def full(old: object, new: Path) -> None:
        if Path(new).name == "index.html":
            raise OSError(errno.ENOSPC, "it is full")
        real(old, new)

    monkeypatch.setattr("os.replace", full)
    problems = owned.put(tmp_path, dict.fromkeys(("report.md", "index.html", "charts/time.svg"), "new"))
    assert problems == {
        "report.md": f"{tmp_path / 'report.md'} was not written by ocrsweep: move it away, or give another folder",
        "index.html": f"{tmp_path / 'index.html'} cannot be written (it is full): free some space there",
    }
    assert (tmp_path / "charts" / "time.svg").read_text() == "new"


def test_an_error_without_a_text_is_said_by_its_name(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError("what it is")

    monkeypatch.setattr(owned.atomic, "write", fails)
    told = owned.put(tmp_path, {"report.md": "new"})
    assert told == {"report.md": f"{tmp_path / 'report.md'} cannot be written (what it is): see to it"}


def test_every_chart_has_a_name_that_is_looked_at_before_the_work():
    grids = ("1x1", "2x3")
    before = report(*(point(stage, grid) for grid in grids for stage in ("prefill", "decode")))
    after = report(*(point(stage, grid, tensor_flops=9) for grid in grids for stage in ("prefill", "decode")))
    drawn = {chart.name for chart in charts(after, before)}
    assert drawn == set(owned.CHART_NAMES)


def test_the_manifest_names_every_file_but_the_database(tmp_path):
    files.write(report(), tmp_path)
    named = json.loads((tmp_path / owned.MANIFEST).read_text())["files"]
    assert set(named) == set(contents(tmp_path)) - {"sweep.sqlite", owned.MANIFEST}
    assert all(len(digests) == 1 for digests in named.values())


# What libraries draw


@pytest.mark.parametrize("error", [ValueError("of two\nlines"), OSError(24, "Too many open files")])
def test_charts_that_cannot_be_drawn_are_a_line_and_all_else_is_written(tmp_path, monkeypatch, error):
    def fails(chart: object) -> str:
        raise error

    monkeypatch.setattr(Drawn, "svg", fails)
    with pytest.raises(ReportError) as told:
        files.write(report(), tmp_path)
    assert str(told.value).startswith(f"charts: not drawn ({type(error).__name__}: ")
    assert "\n" not in str(told.value)
    again = f"try again with `ocrsweep report {tmp_path}/sweep.json {tmp_path}`"
    written = "sweep.json, sweep.sqlite (run 1), summary.json, report.md, index.html"
    assert str(told.value).endswith(f"): {again}; beside it written: {written}")
    assert not (tmp_path / "charts").exists()


def test_charts_that_cannot_be_defined_leave_those_of_an_earlier_run(tmp_path, monkeypatch):
    files.write(report(), tmp_path)

    def fails(found: Report) -> list[Drawn]:
        raise TypeError("no altair of this version")

    monkeypatch.setattr("pytest_ocrsweep.report.charts.charts", fails)
    with pytest.raises(ReportError, match=r"^charts: not drawn \(TypeError: .*report\.md, index\.html$"):
        files.write(report(), tmp_path)
    assert {path.name for path in (tmp_path / "charts").iterdir()} == {"bytes.svg", "time.svg"}


def test_a_drawing_that_is_interrupted_is_interrupted(tmp_path, monkeypatch):
    def stopped(chart: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Drawn, "svg", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write(report(), tmp_path)


def test_a_job_summary_that_finds_no_room_is_as_before(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="this system has no limits on files")
    job = tmp_path / "job"
    job.write_text("# Build\n")
    writing = files.Writing(report(), tmp_path, None, print)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        writing.step(lambda: writing.append(job))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert job.read_text() == "# Build\n"
    assert writing.problems == [f"{job} cannot be written (File too large): free some space there"]
