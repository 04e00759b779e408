"""Two sides beside each other as a page: what a page takes on each, what moved, and a file that only we replace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import own, point, report, vendor, with_own

from pytest_ocrsweep import cli
from pytest_ocrsweep.report import sqlite

MS = 1_000_000


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two runs: in the second a decode is slower, and its prefill within the margin."""
    path = tmp_path / "nightly.sqlite"
    for prefill, decode in ((30, 200), (30.1, 230)):
        times = {"prefill": vendor(round(prefill * MS)), "decode": vendor(decode * MS)}
        sqlite.write(report(*(point(stage, vendor=time) for stage, time in times.items())), path)
    return path


def words(file: Path) -> str:
    markup = re.sub(r"(?s)<style>.*?</style>", "", file.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


def test_the_page_says_what_moved_and_what_a_page_takes(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    assert cli.main(["compare", f"{database}#1", str(database), "--html", str(file)]) == 1
    said = words(file)
    assert "1 of 22 numbers moved, at 1 point" in said
    assert "2x3 flash device ms 230.000 260.100 +13.09 % – decode +15.00 %" in said
    assert "decode 2x3 flash device ms 200.000 230.000 +15.00 %" in said
    assert "<script" not in file.read_text(encoding="utf-8")


def test_a_page_of_the_users_own_model_is_one(tmp_path: Path) -> None:
    path, file = tmp_path / "nightly.sqlite", tmp_path / "compared.html"
    for decode in (200, 260):
        times = {"prefill": vendor(30 * MS), "decode": vendor(decode * MS)}
        sqlite.write(with_own(*(own("tuned", stage, measured=time) for stage, time in times.items())), path)
    assert cli.main(["compare", f"{path}#1", str(path), "--html", str(file)]) == 1
    said = words(file)
    assert "tuned 2x3 flash device ms 230.000 290.000 +26.09 % – decode +30.00 %" in said
    assert "tuned at decode 2x3 flash device ms 200.000 260.000 +30.00 %" in said


def test_what_is_the_same_says_so(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    assert cli.main(["compare", f"{database}#1", f"{database}#1", "--html", str(file)]) == 0
    assert "Nothing moved: 22 numbers were compared" in words(file)
    assert cli.main(["compare", f"{database}#1", f"{database}#1", "--html", str(file)]) == 0  # ours is replaced


def test_a_file_of_somebody_else_stays(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "index.html"
    file.write_text("mine")
    assert cli.main(["compare", f"{database}#1", str(database), "--html", str(file)]) == 2
    said = f"ocrsweep: {file} was not written by ocrsweep: move it away, or give another file\n"
    assert capsys.readouterr().err == said
    assert file.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_a_line(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert cli.main(["compare", f"{database}#1", str(database), "--html", str(tmp_path / "file" / "x.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
