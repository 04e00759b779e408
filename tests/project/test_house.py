"""What is true of the project as a whole: how its files look, that its pages tell the truth."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import dram_table as dram
import pytest
import screenshot

from pytest_ocrsweep.plugin import options
from pytest_ocrsweep.report import recorded

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_ocrsweep"
PAGES = ["README.md", "CONTRIBUTING.md"]
FOLDERS = ["pytest_ocrsweep", "suites", "tests", "dev", "docs", ".ci"]
LIMITED = ("pytest_ocrsweep", "dev")
LINES = 250  # a longer file holds two things
NAMES = 15  # files and folders of the package that one look takes in
README_LINES = 100
TEST_FILE = re.compile(r"\b(?:tests/\w+|suites)/test_\w+\.py")


def files(pattern: str) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern) if path.is_file())


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("*.py"), ids=short)
def test_a_file_says_what_is_true_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module docstring is missing"


def test_no_file_of_the_package_or_of_dev_is_long() -> None:
    lines = {short(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files("*.py")}
    assert {name: count for name, count in lines.items() if name.startswith(LIMITED) and count > LINES} == {}


def test_one_look_takes_in_the_package() -> None:
    assert len({path.name for path in PACKAGE.iterdir()} - {"__pycache__"}) <= NAMES


def test_every_test_that_a_maintainers_script_names_exists() -> None:
    named = {
        name for path in (ROOT / "dev").rglob("*.py") for name in TEST_FILE.findall(path.read_text(encoding="utf-8"))
    }
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_no_file_names_somebodys_home() -> None:
    home = re.compile(r"/(home|root|Users)/\w")
    paths = [*files("*"), *(path for path in ROOT.iterdir() if path.is_file())]
    texts = [path for path in paths if path.suffix in {"", ".md", ".py", ".toml", ".yaml", ".json"}]
    assert [path for path in texts if home.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", [*PAGES, ".ci/run"])
def test_every_make_command_named_is_a_target(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", (ROOT / page).read_text(encoding="utf-8"), re.M))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_in_code_quotes_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|yaml|toml|md)|(?:[\w.-]+/)+)`", text))
    assert {name for name in named if not any((root / name).exists() for root in (ROOT, PACKAGE))} == set()


@pytest.mark.parametrize("page", [*(ROOT / page for page in PAGES), *files("*.md")], ids=short)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_option_has_its_line_in_the_readme_or_its_own_page() -> None:
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/options.md")]
    listed = [name for page in pages for name in re.findall(r"^\| `(--ocrsweep-[\w-]+)", page, re.M)]
    assert listed == list(options.OPTIONS)


def test_the_page_of_dram_bytes_is_what_its_command_prints() -> None:
    rows = list(dram.compared(ROOT / dram.COUNTED))
    assert dram.markdown(rows) in (ROOT / "docs/dram.md").read_text(encoding="utf-8")


def test_the_picture_of_a_report_shows_the_page_as_it_is_now() -> None:
    pytest.importorskip("jinja2", reason="needs the report extra: pip install .[report]")
    report = recorded.report(ROOT / "baselines", "deepseek-ocr", "nvidia-h200")
    if screenshot.shown(ROOT / "docs/report.png") != screenshot.shows(report):
        pytest.fail("docs/report.png is stale: make docs, where a Chromium is", pytrace=False)


def test_the_base_install_has_no_torch_and_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"vendor", "report", "dev"} <= project["optional-dependencies"].keys()
    assert [need for need in project["dependencies"] if need.startswith(("torch", "transformers"))] == []
