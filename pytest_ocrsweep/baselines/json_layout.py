"""Frozen dataclasses as JSON objects and back: a table of fields checks what is read, and what it does not know stays.

A field that an earlier version did not write may be absent: it is read as its default, and left out when it is written
again, unless the JSON is to be filled.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..files.untrusted import MOST

T = TypeVar("T")
R = TypeVar("R", bound="JsonObject")
Json = dict[str, Any]  # an object as `json` has it


class Wrong(ValueError):
    """What is wrong, and on the way up, where."""

    def __init__(self, what: str, *at: str) -> None:
        super().__init__(what)
        self.what, self.at = what, at


NOTHING: Mapping[str, Any] = {}  # shared by thousands of objects, and never written to


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonObject:
    """An object of a document: `extra` are fields of a later version, `absent` those that an earlier one lacks."""

    extra: Mapping[str, object] = field(default_factory=lambda: NOTHING, hash=False)
    absent: frozenset[str] = field(default=frozenset(), compare=False)


def names(of: type[JsonObject]) -> tuple[str, ...]:
    """The fields of a class, without those that any object has."""
    return tuple(each.name for each in fields(of) if each.name not in ("extra", "absent"))


class Kind(Protocol):
    """How the values of a field are read from JSON, and written to it; None for those that are JSON already."""

    @property
    def read(self) -> Callable[[Any], Any]: ...

    @property
    def write(self) -> Callable[[Any, bool], object] | None: ...


class Plain(NamedTuple):
    """A kind of value by its two functions; `read` raises Wrong."""

    read: Callable[[Any], Any]
    write: Callable[[Any, bool], object] | None = None


class Field(NamedTuple):
    """A field that must be there; or, with a default, may be absent."""

    kind: Kind
    default: object = ...
    fills: bool = True  # whether it is added where it is absent and the JSON is to be filled


class Layout(Generic[R]):
    """A dataclass as an object with these fields, which are written in this order, and any others after them.

    `renamed` are names that earlier versions wrote, each with what it is called now.
    """

    def __init__(
        self,
        make: Callable[..., R],
        fields: Mapping[str, Field | Kind],
        get: Callable[[R, str], object] = getattr,
        renamed: Mapping[str, str] = NOTHING,
    ) -> None:
        self._make, self._get, self._renamed = make, get, renamed
        self._fields = {name: each if isinstance(each, Field) else Field(each) for name, each in fields.items()}
        self._reads = [(name, each.kind.read, each.default) for name, each in self._fields.items()]
        self._writes = [(name, each.kind.write, each.fills) for name, each in self._fields.items()]

    def read(self, value: object) -> R:
        """The object that the JSON holds. Raises Wrong."""
        if not isinstance(value, dict):
            raise Wrong(f"must be an object, got {reprlib.repr(value)}")
        for old, new in self._renamed.items():
            if old in value and new not in value:
                value = {new if name == old else name: other for name, other in value.items()}
        made: Json = {}
        absent, name = [], ""
        try:
            for name, read, default in self._reads:
                if name in value:
                    made[name] = read(value[name])
                elif default is ...:
                    raise Wrong("is missing")
                else:
                    made[name] = default
                    absent.append(name)
        except Wrong as wrong:
            raise Wrong(wrong.what, name, *wrong.at) from None
        if absent:
            made["absent"] = frozenset(absent)
        if len(value) > len(self._fields) - len(absent):
            made["extra"] = {name: _at(name, _any, other) for name, other in value.items() if name not in self._fields}
        return self._make(**made)

    def write(self, found: R, fill: bool = False) -> Json:
        """The object as JSON; `fill` adds what earlier versions did not write."""
        made: Json = {}
        for name, write, fills in self._writes:
            if name in found.absent and not (fill and fills):
                continue
            value = self._get(found, name)
            made[name] = value if write is None or value is None else write(value, fill)
        made.update(found.extra)
        return made


def _at(name: str, read: Callable[[Any], T], value: object) -> T:
    try:
        return read(value)
    except Wrong as wrong:
        raise Wrong(wrong.what, name, *wrong.at) from None


def _any(value: object) -> object:
    """What is not of ours stays as it is, if JSON can say it."""
    left = [value]
    while left:  # however deep
        inner = left.pop()
        if isinstance(inner, dict):
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
        elif isinstance(inner, float) and not isfinite(inner):
            raise Wrong(f"holds {inner}, which is not a number")
    return value


# Kinds of values


def each(item: Kind) -> Plain:
    """An object whose values are all of one kind, by any name."""
    write = item.write

    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise Wrong(f"must be an object, got {reprlib.repr(value)}")
        return {name: _at(name, item.read, of_name) for name, of_name in value.items()}

    def written(value: Mapping[str, object], fill: bool) -> Json:
        return {name: write(each, fill) for name, each in value.items()} if write else dict(value)

    return Plain(read, written)


def many(item: Kind) -> Plain:
    """A list of one kind of thing; in Python a tuple."""
    write = item.write

    def read(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise Wrong(f"must be a list, got {reprlib.repr(value)}")
        return tuple(_at(f"[{index}]", item.read, of_index) for index, of_index in enumerate(value))

    def written(value: Iterable[object], fill: bool) -> list[object]:
        return [write(each, fill) for each in value] if write else list(value)

    return Plain(read, written)


def known(item: Kind) -> Plain:
    """It, or null where it is not known."""
    return Plain(lambda value: None if value is None else item.read(value), item.write)


def unknown(item: Kind) -> Field:
    """The same, for a field that may be absent too."""
    return Field(known(item), None)


def later(item: Kind, default: object = None) -> Field:
    """The same, for one that is never added: the digests of earlier reports in SQLite are without it.

    Null is no value of one that is something else where it is absent, such as an empty list.
    """
    return Field(known(item) if default is None else item, default, fills=False)


def _whole(value: object, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise Wrong(f"must be a whole number of at least {least}, got {reprlib.repr(value)}")
    if value > MOST:
        raise Wrong(f"is too large, got {reprlib.repr(value)}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or (type(value) is float and not isfinite(value)):
        raise Wrong(f"must be a number, got {reprlib.repr(value)}")
    if abs(value) > MOST:
        raise Wrong(f"is too large, got {reprlib.repr(value)}")
    return float(value) + 0.0  # minus zero is zero in SQLite, so here too


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be text, got {reprlib.repr(value)}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, got {reprlib.repr(value)}")
    return value


flag = Plain(_flag)
whole = Plain(_whole)
positive = Plain(lambda value: _whole(value, least=1))
number = Plain(_number)
text = Plain(_text)


def one_of(choices: Iterable[str]) -> Plain:
    """One of these texts."""
    names = tuple(choices)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise Wrong(f"must be one of {', '.join(names)}, got {reprlib.repr(value)}")
        return value

    return Plain(read)
