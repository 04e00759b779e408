"""The family of errors: its tree, and a hint that is printed after what is wrong."""

from __future__ import annotations

import re

import pytest

from pytest_ocrsweep import errors
from pytest_ocrsweep.errors import ColumnOverflow, OcrsweepError, ShapesError

FAMILY = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, OcrsweepError)]


def tree(family: type[OcrsweepError], depth: int = 0) -> set[tuple[int, str]]:
    below = [tree(child, depth + 1) for child in family.__subclasses__()]
    return {(depth, family.__name__)}.union(*below)


def test_the_docstring_draws_the_family_as_it_is() -> None:
    drawn = re.findall(r"^((?:[│├└─ ]{4})*)(\w+)(?: {2,}.*)?$", errors.__doc__ or "", re.M)
    assert {(len(indent) // 4, name) for indent, name in drawn} == tree(OcrsweepError)


def test_no_error_of_the_package_is_defined_elsewhere() -> None:
    assert {name for _, name in tree(OcrsweepError)} == {each.__name__ for each in FAMILY}


@pytest.mark.parametrize("error", FAMILY)
def test_the_hint_is_printed_after_the_message(error: type[OcrsweepError]) -> None:
    assert str(error("a.json: it is empty:", hint="restore it")) == "a.json: it is empty: restore it"
    assert error("a.json: it is empty:", hint="restore it").hint == "restore it"
    assert (str(error("no such grid")), error("no such grid").hint) == ("no such grid", None)


def test_the_option_is_named_before_the_message_and_the_type_stays() -> None:
    error = ShapesError("no such file;", "to make one: ocrsweep shapes --db FILE").at("--grids")
    assert type(error) is ShapesError
    assert str(error) == "--grids: no such file; to make one: ocrsweep shapes --db FILE"
    assert error.hint == "to make one: ocrsweep shapes --db FILE"


def test_a_caller_that_expects_pythons_own_error_gets_it() -> None:
    assert {issubclass(error, ValueError) for error in FAMILY} == {True}
    assert issubclass(ColumnOverflow, OverflowError)
