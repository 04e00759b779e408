"""What a runner answers, read once into values of our own: what is of another type, or impossible, is refused.

A ValueError says that something else answered. Malformed names the value that is wrong, and says what it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..baselines.recorded_time import LONGEST_NS
from ..files.text import quoted
from ..files.untrusted import parse_json
from .about import About
from .served import Load, Request, ServedLoad, span_ns

TEXT = 200  # characters of a GPU's name, or of a version
LARGEST = 2**63 - 1
ROW = "[sent ns, first token ns, last token ns, prompt tokens, new tokens]"

Value = TypeVar("Value")


class Malformed(ValueError):
    """A value that cannot be: where it is, what it must be, and what it is."""

    def __init__(self, where: str, must: str, value: object) -> None:
        super().__init__(f"{where}: it must be {must}, and is {quoted(value)}")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command failed. The `kind` is refused, version, memory or engine; after `refused` the engine goes on."""

    kind: str
    line: str


def row(line: bytes) -> Mapping[str, Any]:
    """The object of a line of JSON."""
    try:
        value = parse_json(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return _mapping(value)


def failure(value: object) -> Failure:
    given = _mapping(value)
    return Failure(str(given.get("kind")), str(given.get("line")))


def started_s(value: object) -> float:
    seconds = _mapping(value).get("started_s")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= LONGEST_NS / 1e9:
        raise Malformed("started_s", "seconds, a number from 0 to a day", seconds)
    return float(seconds)


def about(value: object) -> About:
    given = _mapping(value)
    versions = given.get("versions", {})
    if not isinstance(versions, dict):
        raise Malformed("versions", "an object with a text for each name", versions)
    known = {name: _text(f"versions.{name}", each) for name, each in versions.items() if each is not None}
    batches = _unless_null(given, "captured_batches", _list)

    def text(name: str) -> str | None:
        return _unless_null(given, name, _text)

    def count(name: str) -> int | None:
        return _unless_null(given, name, _positive)

    return About(
        "vllm",
        version=known.pop("version", None),
        model=text("model"),
        versions=known,
        gpu=text("gpu"),
        weight_bytes=count("weight_bytes"),
        kv_bytes_per_token=count("kv_bytes_per_token"),
        kv_blocks=count("kv_blocks"),
        kv_block_tokens=count("kv_block_tokens"),
        captured_batches=None if batches is None else _wholes("captured_batches", batches, 1),
        attention=text("attention"),
        max_num_seqs=count("max_num_seqs"),
        max_num_batched_tokens=count("max_num_batched_tokens"),
        max_model_len=count("max_model_len"),
        encoder_graphs=_unless_null(given, "encoder_graphs", _flag),
        host_ns=_wholes("host_ns", _list("host_ns", given.get("host_ns", [])), 1, LONGEST_NS),
    )


def served(value: object, load: Load) -> ServedLoad:
    given = _mapping(value)
    rows = _list("requests", given.get("requests"))
    if len(rows) != load.pages:
        raise Malformed("requests", f"{load.pages:,} rows, one for each page", f"{len(rows):,} rows")
    requests = tuple(_request(f"requests[{number}]", each) for number, each in enumerate(rows))
    wall_ns = _whole("wall_ns", given.get("wall_ns"), 1, LONGEST_NS)
    if wall_ns < (spent_ns := span_ns(requests)):
        raise Malformed("wall_ns", f"at least {spent_ns:,} ns, from the first request to the last token", wall_ns)
    return ServedLoad(
        load,
        requests,
        wall_ns,
        _wholes("rendered_ns", _list("rendered_ns", given.get("rendered_ns")), 0, LONGEST_NS),
        _unless_null(given, "energy_mj", lambda where, energy: _whole(where, energy, 0)),
        host_ns=_unless_null(given, "host_ns", _before_and_after) or (),
    )


def _request(where: str, value: object) -> Request:
    if not isinstance(value, list) or len(value) != 5 or any(type(each) is not int for each in value):
        raise Malformed(where, f"five whole numbers, {ROW}", value)
    request = Request(*value)
    in_order = request.sent_ns < request.first_ns <= request.last_ns <= request.sent_ns + LONGEST_NS
    if request.prompt_tokens < 0 or request.new_tokens < 0 or max(map(abs, value)) > LARGEST:
        raise Malformed(where, f"times and counts of tokens, {ROW}", value)
    if request.new_tokens and not in_order:  # one without a token has no time of one
        raise Malformed(where, f"times one after the other, within a day, {ROW}", value)
    return request


def _before_and_after(where: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed(where, "two whole numbers of at least 1, before and after the load", value)
    return _wholes(where, value, 1, LONGEST_NS)


def _unless_null(given: Mapping[str, Any], name: str, read: Callable[[str, object], Value]) -> Value | None:
    value = given.get(name)
    return None if value is None else read(name, value)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _list(where: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise Malformed(where, "a list", value)
    return value


def _wholes(where: str, values: list[object], least: int, most: int = LARGEST) -> tuple[int, ...]:
    return tuple(_whole(f"{where}[{number}]", each, least, most) for number, each in enumerate(values))


def _positive(where: str, value: object) -> int:
    return _whole(where, value, 1)


def _whole(where: str, value: object, least: int, most: int = LARGEST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(where, f"a whole number from {least} to {most:,}", value)
    return value


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed(where, "true or false", value)
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > TEXT:
        raise Malformed(where, f"a text of at most {TEXT} characters", value)
    return value
