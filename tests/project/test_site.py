"""The site has each page, and a broken link fails its build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import web_site

ROOT = Path(__file__).parents[2]


def test_each_page_is_in_the_index_and_so_in_the_navigation() -> None:
    named = [name for _, names in web_site.navigation() for name in names]
    assert sorted(named) == sorted(web_site.pages().keys() - {"index.md", "readme.md", "api.md"})


def test_each_link_of_the_site_leads_to_a_page_or_picture_of_it() -> None:
    pages = web_site.pages()
    files = {*pages, *(path.name for path in (ROOT / "docs").iterdir())}
    links = {link for text in pages.values() for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)}
    assert {link for link in links if link not in files} == set()


def test_the_reference_has_each_public_name() -> None:
    import pytest_ocrsweep

    listed = re.findall(r"^::: ([\w.]+)$", web_site.api(), re.MULTILINE)
    assert {name.rpartition(".")[2] for name in listed} >= set(pytest_ocrsweep.__all__)


@pytest.mark.slow
def test_the_site_is_built_and_a_broken_link_fails_it(tmp_path: Path) -> None:
    web_site.write(tmp_path)
    assert web_site.made(tmp_path) == 0
    text = (tmp_path / "site/api.html").read_text(encoding="utf-8")
    assert "its Hydra configuration composed once" in text
    assert (tmp_path / "site/search.json").stat().st_size > 100_000
    with (tmp_path / "pages/index.md").open("a", encoding="utf-8") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    assert web_site.made(tmp_path) != 0
