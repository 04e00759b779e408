"""What a report document must look like: the one shape that sweep.json, SQLite and every page agree on."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from ..baselines.result import SCHEMA, order
from ..files.text import printable
from ..files.untrusted import MOST
from ..model.geometry import CropGrid
from ..model.stages import ATTENTION, STAGES

REMEDY = "make it again with --ocrsweep-report=DIR"

COSTS = ("tensor_flops", "vector_flops", "read_bytes", "write_bytes")
ANALYTIC = (*COSTS, "weight_bytes", "kv_cache_bytes", "peak_activation_bytes")
CLOCKED = ("device_ns", "wall_ns")  # each: min, median, q1, q3 and samples


class ReportError(ValueError):
    """A report that cannot be read or written: which one, what is wrong with it, what to do; in one line."""


class _Wrong(ValueError):
    """What is wrong, and on the way up, where."""

    def __init__(self, what: str, *at: str) -> None:
        super().__init__(what)
        self.what, self.at = what, at


Check = Callable[[Any], Any]  # the value as it is kept; raises _Wrong


ABSENT = object()


class Field(NamedTuple):
    """What a field holds; earlier reports that lack it are read as if it held `default`, where there is one."""

    check: Check
    default: Any = ...


def check(document: Any, where: str) -> dict[str, Any]:
    """`document` with its points in order and null for what earlier versions did not write; unknown fields stay.

    Raises ReportError, in one line that begins with `where`, for what is not such a document.
    """
    try:
        made: dict[str, Any] = _document(document)
    except _Wrong as wrong:
        at = printable(".".join(wrong.at).replace(".[", "["))
        raise ReportError(f"{where}: {f'{at} ' if at else 'it '}{wrong.what}; {REMEDY}") from None
    made["points"].sort(key=order)
    return made


def _document(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not {"schema", "points"} <= value.keys():
        raise _Wrong("is not the report of a sweep: that is an object with schema, model, workload and points")
    if type(value["schema"]) is not int or value["schema"] != SCHEMA:
        raise _Wrong(f"is {reprlib.repr(value['schema'])}, but this version reads {SCHEMA}", "schema")
    made = _DOCUMENT(value)
    seen: set[tuple[str, str, str]] = set()
    for index, point in enumerate(made["points"]):
        name = point["stage"], point["grid"], point["attention"]
        if name in seen:
            raise _Wrong(f"is {' '.join(name)} a second time", "points", f"[{index}]")
        seen.add(name)
    return dict(made)


def record(fields: Mapping[str, Field | Check]) -> Check:
    """An object that has these fields, which come first and in this order, and maybe others."""
    known = {name: field if isinstance(field, Field) else Field(field) for name, field in fields.items()}

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Wrong(f"must be an object, got {reprlib.repr(value)}")
        made = {}
        for name, field in known.items():
            if name not in value and field.default is ABSENT:
                continue
            if name not in value and field.default is ...:
                raise _Wrong("is missing", name)
            made[name] = _at(name, field.check, value.get(name, field.default))
        return made | {name: _at(name, _others, other) for name, other in value.items() if name not in known}

    return checked


def _others(value: Any) -> Any:
    """What is not of ours stays as it is, if JSON can say it."""
    left = [value]
    while left:  # however deep
        inner = left.pop()
        if isinstance(inner, dict):
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
        elif isinstance(inner, float) and not isfinite(inner):
            raise _Wrong(f"holds {inner}, which is not a number")
    return value


def each(item: Check) -> Check:
    """An object whose values are all of one kind, by any name."""

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Wrong(f"must be an object, got {reprlib.repr(value)}")
        return {name: _at(name, item, of_name) for name, of_name in value.items()}

    return checked


def many(item: Check) -> Check:
    """A list of one kind of thing."""

    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _Wrong(f"must be a list, got {reprlib.repr(value)}")
        return [_at(f"[{index}]", item, of_index) for index, of_index in enumerate(value)]

    return checked


def _at(name: str, item: Check, value: Any) -> Any:
    try:
        return item(value)
    except _Wrong as wrong:
        raise _Wrong(wrong.what, name, *wrong.at) from None


def known(item: Check) -> Check:
    """It, or null where it is not known."""
    return lambda value: None if value is None else item(value)


def unknown(item: Check) -> Field:
    """The same, for a field that may be missing too."""
    return Field(known(item), None)


def later(item: Check) -> Field:
    """The same, for one that is not added where it is missing: the digests of earlier reports in SQLite know nothing
    of it."""
    return Field(known(item), ABSENT)


def whole(value: Any, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise _Wrong(f"must be a whole number of at least {least}, got {reprlib.repr(value)}")
    if value > MOST:
        raise _Wrong(f"is too large, got {reprlib.repr(value)}")
    return value


def positive(value: Any) -> int:
    return whole(value, least=1)


def number(value: Any) -> float:
    if type(value) not in (int, float) or (type(value) is float and not isfinite(value)):
        raise _Wrong(f"must be a number, got {reprlib.repr(value)}")
    if abs(value) > MOST:
        raise _Wrong(f"is too large, got {reprlib.repr(value)}")
    return float(value) + 0.0  # minus zero is zero in SQLite, so here too


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"must be text, got {reprlib.repr(value)}")
    return value


def one_of(choices: Iterable[str]) -> Check:
    names = tuple(choices)

    def checked(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _Wrong(f"must be one of {', '.join(names)}, got {reprlib.repr(value)}")
        return value

    return checked


def grid(value: Any) -> str:
    try:
        if str(CropGrid.parse(value)) == value:
            return str(value)
    except (TypeError, ValueError):
        pass
    raise _Wrong(f"must be ROWSxCOLUMNS, such as 2x3, got {reprlib.repr(value)}")


def _summary(value: Any) -> dict[str, Any]:
    """Quartiles in order; those of a recorded baseline have no samples, and of its wall time only the median."""
    made: dict[str, Any] = _SUMMARY(value)
    given = [made[name] for name in ("min", "q1", "median", "q3") if made[name] is not None]
    if given != sorted(given):
        raise _Wrong("must have min, q1, median and q3 in ascending order")
    return made


_SUMMARY = record(
    {"median": positive, **dict.fromkeys(("min", "q1", "q3"), unknown(whole)), "samples": Field(many(whole), [])}
)
_COST = record(dict.fromkeys(COSTS, whole))
_FLOOR = record(
    {
        "device": text,
        **dict.fromkeys(("compulsory_bytes", "dram_bytes"), unknown(whole)),
        "time_ns": whole,
        "bound": text,
        **dict.fromkeys(("tensor_ns", "vector_ns", "bandwidth_ns", "estimate_ns"), unknown(whole)),
        **dict.fromkeys(("attained", "mfu", "mbu"), unknown(number)),
    }
)
_VENDOR = record(
    {
        "tensor_flops": known(whole),
        "device_ns": _summary,
        "wall_ns": known(_summary),
        "peak_bytes": known(whole),
        "host": later(text),
        **dict.fromkeys(("gpu", "clock", "experts", "stopped"), unknown(text)),
        **dict.fromkeys(("kernels", "rounds", "sm_clock_mhz"), unknown(whole)),
        "power_w": unknown(number),
        "gate": Field(
            record({"outcome": unknown(text), "change": unknown(number), "margin": unknown(number)}),
            {},
        ),
    }
)
_POINT = record(
    {
        "stage": one_of(STAGES),
        "grid": grid,
        "attention": one_of(ATTENTION),
        **dict.fromkeys(("image_tokens", "context_tokens", "new_tokens", "batch"), whole),
        "analytic": record(dict.fromkeys(ANALYTIC, whole)),
        "floor": unknown(_FLOOR),
        "vendor": known(_VENDOR),
        "verdict": text,
        "components": Field(each(_COST), {}),
    }
)
ENVIRONMENT = ("gpu", "driver", "torch", "transformers", "dtype", "weights", "git_revision")
WORKLOAD = ("prompt_tokens", "new_tokens", "batch", "resolution")
_HOSTS = many(record(dict.fromkeys(("host", *ENVIRONMENT[:-1]), known(text))))
_DOCUMENT = record(
    {
        "schema": positive,
        "model": text,
        "workload": record({**dict.fromkeys(WORKLOAD[:-1], whole), "resolution": text}),
        "environment": record(
            {"host": later(text), **dict.fromkeys(ENVIRONMENT, unknown(text)), "hosts": later(_HOSTS)}
        ),
        "points": many(_POINT),
    }
)
