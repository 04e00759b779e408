"""Counted numbers as recorded: a JSON file for each model and stage, read strictly, written atomically."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..errors import BaselineError
from ..files import atomic, untrusted
from ..files.text import command, printable, quoted
from ..files.untrusted import MOST
from .json_layout import Json
from .metrics import METRICS, exact_names
from .point_key import PointKey as PointKey
from .point_key import key_of, rows
from .recorded_file import Recorded
from .sweep_report import WORKLOAD

SCHEMA = 1  # of times too

T = TypeVar("T")


CountedPoints = dict[PointKey, dict[str, int]]


class NumberChange(NamedTuple):
    """A number that is not what was recorded."""

    metric: str
    old: int
    new: int

    def __str__(self) -> str:
        difference = self.new - self.old
        percent = f"{100 * difference / self.old:+.4g} %" if self.old else "from 0"
        return (
            f"{self.metric}: old {self.old:,}, new {self.new:,} {METRICS[self.metric].unit}, "
            f"difference {difference:+,} ({percent})"
        )


def file_of(folder: Path, model: str, stage: str) -> Path:
    """Where the points of `model` at `stage` are recorded."""
    return folder / model / f"{stage}.json"


def compare(old: Mapping[str, int], new: Mapping[str, int]) -> list[NumberChange]:
    """Every number that differs at all."""
    if old == new:
        return []
    return [NumberChange(name, old[name], new[name]) for name in exact_names() if old[name] != new[name]]


def read(path: Path, model: str, stage: str) -> CountedPoints:
    """The recorded points; none without a file. Raises BaselineError for a file that cannot be trusted."""
    names = exact_names()

    def numbers(raw: Json) -> dict[str, int]:
        return {name: whole(raw, name) for name in names}

    return Document.load(path, _about(model, stage), "points").points(names, numbers)


def record(path: Path, model: str, stage: str, found: CountedPoints) -> Recorded:
    """Merge `found` into the file; other points stay.

    Several processes may record at once. Raises BaselineError, OSError.
    """
    old = read(path, model, stage)
    if {**old, **found} != old:  # else nothing is written, and a folder may be read-only
        with atomic.locked(path):
            old = read(path, model, stage)  # another process may have recorded meanwhile
            atomic.replace(path, dump(model, stage, {**old, **found}))
    same = sum(old.get(key) == numbers for key, numbers in found.items())
    added = len(found.keys() - old.keys())
    return Recorded(path, added, len(found) - added - same, same, removed=0)


def remove(path: Path, model: str, stage: str, unused: CountedPoints) -> Recorded:
    """Take out the points that are still as `unused` has them. Raises BaselineError, OSError."""
    with atomic.locked(path):
        old = read(path, model, stage)
        left = {key: numbers for key, numbers in old.items() if unused.get(key) != numbers}
        atomic.replace(path, dump(model, stage, left))
    return Recorded(path, 0, 0, len(left), len(old) - len(left))


def dump(model: str, stage: str, points: CountedPoints) -> str:
    """The file's text: sorted, one point a line, so that a diff reads as what changed."""
    return render(_about(model, stage), points=rows(points))


def _about(model: str, stage: str) -> dict[str, object]:
    return {"schema": SCHEMA, "model": model, "stage": stage}


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is what it says it is; what its lists hold is still to be looked at."""

    path: Path
    text: str
    lists: dict[str, list[object]]  # in the order of the text

    @classmethod
    def load(cls, path: Path, about: Mapping[str, object], *lists: str) -> Document:
        """The file that says `about` of itself and holds `lists`, all empty without a file. Raises BaselineError."""
        try:
            text = untrusted.read(path).decode("utf-8")
        except FileNotFoundError:
            return cls(path, "", {name: [] for name in lists})
        except OSError as error:
            what = f"{path}: it cannot be read ({error.strerror or error});"
            raise BaselineError(what, untrusted.remedy(error)) from None
        except UnicodeDecodeError as error:
            raise _damaged(path, None, f"it cannot be read ({error})") from None
        try:
            content = untrusted.parse_json(text)
        except json.JSONDecodeError as error:
            raise _damaged(path, error.lineno, f"it is not JSON ({error.msg})") from None
        except (ValueError, RecursionError) as error:
            raise _damaged(path, None, str(error)) from None
        schema = content.get("schema") if isinstance(content, dict) else None
        if type(schema) is int and schema > SCHEMA:
            what = f"{path}: its schema is {quoted(schema)}, of a later version than this, which reads {SCHEMA}:"
            raise BaselineError(what, "install the pytest-ocrsweep that wrote it")
        *names, last = *about, *lists
        if not isinstance(content, dict) or content.keys() != {*names, last}:
            raise _damaged(path, None, f"it must hold {', '.join(names)} and {last}, and nothing else")
        for name, wanted in about.items():
            if content[name] != wanted or type(content[name]) is not type(wanted):
                raise _damaged(path, None, f"its {name} is {quoted(content[name])}, not {wanted!r}")
        for name in lists:
            if not isinstance(content[name], list):
                raise _damaged(path, None, f"its {name} are not a list")
        return cls(path, text, {name: items for name, items in content.items() if name in lists})

    def each(self, name: str, take: Callable[[object], None]) -> None:
        """Give the items of a list to `take`; a ValueError of its becomes a BaselineError that says where."""
        earlier = list(self.lists)[: list(self.lists).index(name)]
        before = sum(len(self.lists[other]) for other in earlier)
        for index, raw in enumerate(self.lists[name]):
            try:
                take(raw)
            except ValueError as error:
                what = f"{name.removesuffix('s')} {index + 1}: {error}"
                raise _damaged(self.path, _line(self.text, before + index), what) from None

    def points(
        self,
        names: Iterable[str],
        value: Callable[[Json], T],
        optional: tuple[str, ...] = (),
        *,
        calls: bool = False,
    ) -> dict[PointKey, T]:
        """What `value` makes of each point: a key and, beside it, just `names`, and None for what is `optional`.

        Only `calls` of the user's own are without a grid and an attention, and all of them are.
        """
        found: dict[PointKey, T] = {}
        wanted = (*WORKLOAD, "grid", "attention", *names, *optional)

        def take(raw: object) -> None:
            filled = {**dict.fromkeys(optional), **raw} if optional and isinstance(raw, dict) else raw
            fields = exactly(filled, wanted)
            made, key = value(fields), key_of(fields)
            if calls == bool(key.attention):
                raise ValueError(f"grid and attention must {'be null' if calls else 'not be null'}")
            if key in found:
                raise ValueError(f"{str(key) or 'a call'} is recorded twice for one workload")
            found[key] = made

        self.each("points", take)
        return found


def exactly(raw: object, names: tuple[str, ...]) -> Json:
    """`raw` as an object of these fields. Raises ValueError."""
    if not isinstance(raw, dict) or raw.keys() != set(names):
        odd = sorted(raw.keys() ^ set(names)) if isinstance(raw, dict) else [type(raw).__name__]
        raise ValueError(f"it must hold {', '.join(names)}, and nothing else (see {printable(', '.join(odd))})")
    return raw


def whole(raw: Json, name: str, least: int = 0) -> int:
    """The field as an int of at least `least`. Raises ValueError."""
    value = raw[name]
    if type(value) is not int or not least <= value <= MOST:
        wanted = f"a whole number{f' of at least {least}' if least else ''}"
        raise ValueError(f"{name} must be {wanted}, got {quoted(value)}")
    return value


def render(about: Mapping[str, object], **lists: Iterable[object]) -> str:
    """A file's text: `about` and then the lists, one item a line."""
    fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in about.items()]
    for name, items in lists.items():
        lines = ",\n".join(f"    {json.dumps(item)}" for item in items)
        fields.append(f"{json.dumps(name)}: [\n{lines}\n  ]")
    return "{\n  " + ",\n  ".join(fields) + "\n}\n"


def _line(text: str, index: int) -> int | None:
    """The line of the item at `index`, as long as every item begins a line of its own, as we write them."""
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith('{"')]
    return starts[index] if index < len(starts) else None


def _damaged(path: Path, line: int | None, what: str) -> BaselineError:
    where = f"{path}:{line}" if line else str(path)
    restoring = command("git", "checkout", "--", str(path))
    hint = f"restore it ({restoring}), or delete it and run again with --ocrsweep-update"
    return BaselineError(f"damaged baseline {where}: {what};", hint)
