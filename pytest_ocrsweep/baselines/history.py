"""Every recorded process for good: a file beside a stage's times that only grows, a line of JSON a process.

Lines are read in the order of their dates and each once, so that git may merge two branches' files line by line.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..errors import BaselineError
from ..files import appending, untrusted
from ..files.text import printable, quoted
from . import energy, power_cap
from .anchor import AGREEING, Became
from .counted import SCHEMA, exactly, whole
from .energy import ENERGY
from .evidence import Baseline, Process
from .gate import margin
from .gpu_folder import gpu_folder
from .measurement import ENVIRONMENT
from .point_key import PointKey, key_of, rows
from .power_cap import POWER_CAPPED
from .recorded_time import KEPT, RecordedTime, Taken, TimedProcess, known_clock, ordered
from .sweep_report import WORKLOAD
from .timed_rows import date_of, environment_of, text

MOST_BYTES = 256 << 20  # a stage's 46 points, recorded twice a day for ten years
TIMES = ("median_ns", "q1_ns", "q3_ns", "samples")
FIELDS = (
    *("schema", "date", *WORKLOAD, "grid", "attention", "clock", "experts", *TIMES),
    *("sm_clock_mhz", "power_cap", "environment", "became", "by"),
)
OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded process of one point; or that somebody, `by`, made the latest ones its anchor."""

    date: str  # UTC, as of DATE
    key: PointKey
    clock: str
    experts: str | None
    taken: Taken
    sm_clock_mhz: int | None
    became: Became
    by: str | None = None


class History(NamedTuple):
    """A file as it was read: its entries by date, and how many of its bytes hold whole lines."""

    entries: tuple[Entry, ...] = ()
    whole_bytes: int = 0
    torn: bool = False  # the last line is not whole: a writer was killed
    unended: bool = False  # the last line is whole, but for its end

    def of(self, key: PointKey) -> list[Entry]:
        """What became of a point, oldest first."""
        return [entry for entry in self.entries if entry.key == key]


def now() -> str:
    """The date of an entry."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_of(times: Path) -> Path:
    """The history beside a file of times."""
    return times.with_name(f"{times.stem}.history.jsonl")


def read(path: Path) -> History:
    """The history; empty without a file. Raises BaselineError, with the line, for a file that is no history."""
    try:
        *lines, rest = untrusted.read(path, MOST_BYTES).split(b"\n")
    except FileNotFoundError:
        return History()
    except OSError as error:
        what = f"{path}: the history cannot be read ({error.strerror or error});"
        grown = "move its first lines to another file: nothing but `ocrsweep history` needs them"
        raise BaselineError(what, grown if error.errno == errno.EFBIG else untrusted.remedy(error)) from None
    found: dict[Entry, None] = {}
    whole_bytes, last = 0, len(lines) + bool(rest)
    for number, line in enumerate([*lines, rest] if rest else lines, 1):
        try:
            found[_entry(line, path.parent.name)] = None
        except (BaselineError, ValueError, RecursionError) as error:
            if number < last or isinstance(error, _Later):
                raise _damaged(path, number, error) from None
            return History(_by_date(found), whole_bytes, torn=True)
        whole_bytes += len(line) + 1
    return History(_by_date(found), whole_bytes - bool(rest), unended=bool(rest))


def append(path: Path, known: History, entries: Iterable[Entry]) -> None:
    """Add lines to the file, which was read as `known`; a torn line gives way. For a block that has locked it.

    Raises OSError, and then the file is as before.
    """
    lines = "".join(_line(entry) for entry in entries).encode("utf-8")
    if not lines:
        return
    descriptor = os.open(path, OPEN, 0o666)
    try:
        if known.torn:
            os.ftruncate(descriptor, known.whole_bytes)
        appending.append(descriptor, b"\n" * known.unended + lines, known.whole_bytes)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            os.close(descriptor)


def entry(key: PointKey, timed: TimedProcess, date: str, became: Became) -> Entry:
    """A recorded process."""
    return Entry(date, key, timed.clock, timed.experts, timed.taken, timed.observed.sm_clock_mhz, became)


def acceptance(key: PointKey, stored: RecordedTime, date: str, by: str) -> Entry:
    """That somebody accepted a point's latest processes, by the very latest of them."""
    mhz = stored.baseline.observed.sm_clock_mhz
    return Entry(date, key, stored.clock, stored.experts, stored.taken[-1], mhz, Became.ACCEPTED, by)


def changes(processes: Sequence[Process]) -> list[int]:
    """Where the time moved and stayed: the first of three processes in a row that all lie on one side of the level
    before them, further away than its margin. The level is that of the first five processes since the last such place,
    so that what moves little by little is found too.
    """
    found, start = [], 0
    for at in range(1, len(processes) - AGREEING + 1):
        level = Baseline(tuple(processes[start:at][:KEPT]))
        away = [process.median_ns / level.time_ns - 1 for process in processes[at : at + AGREEING]]
        if min(away) > margin(level) or max(away) < -margin(level):
            found.append(at)
            start = at
    return found


class _Later(ValueError):
    """A line that a later version wrote."""


def _by_date(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.date))


def _line(entry: Entry) -> str:
    process, environment = entry.taken
    (key,) = rows({entry.key: {}})
    started = {"engine_start": environment.engine_start} if environment.engine_start else {}
    known = {name: getattr(environment, name) for name in (*ENVIRONMENT, "gpu_uuid")} | started
    content = {
        "schema": SCHEMA,
        "date": entry.date,
        **key,
        "clock": entry.clock,
        "experts": entry.experts,
        **{name: getattr(process, name) for name in TIMES},
        "sm_clock_mhz": entry.sm_clock_mhz,
        "power_cap": POWER_CAPPED.write(process.power_cap) if process.power_cap else None,
        **({"energy": ENERGY.write(process.energy)} if process.energy else {}),
        "environment": known,
        "became": entry.became.value,
        "by": entry.by,
    }
    return json.dumps(content) + "\n"


def _entry(line: bytes, folder: str) -> Entry:
    raw = untrusted.parse_json(line)
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise _Later(f"its schema is {quoted(schema)}, of a later version than this, which reads {SCHEMA}")
    there = ("energy",) if isinstance(raw, dict) and "energy" in raw else ()  # of no earlier version, nor of each line
    fields = exactly(raw, (*FIELDS, *there))
    if type(schema) is not int or schema != SCHEMA:
        raise ValueError(f"its schema is {quoted(schema)}, not {SCHEMA}")
    cap = None if fields["power_cap"] is None else power_cap.recorded(fields["power_cap"])
    used = energy.recorded(fields["energy"]) if there else None
    process = ordered(Process(*(whole(fields, name, least=1) for name in TIMES), power_cap=cap, energy=used))
    mhz = None if fields["sm_clock_mhz"] is None else whole(fields, "sm_clock_mhz")
    environment = environment_of(fields["environment"])
    if environment.gpu is not None and gpu_folder(environment.gpu) != folder:
        raise ValueError(f"it is of {quoted(environment.gpu)}, and this folder is of {folder}")
    return Entry(
        date_of(fields, "date"),
        key_of(fields),
        known_clock(fields["clock"]),
        text(fields, "experts"),
        Taken(process, environment),
        mhz,
        _became(fields["became"]),
        text(fields, "by"),
    )


def _became(value: object) -> Became:
    if not isinstance(value, str) or value not in tuple(Became):
        raise ValueError(f"became must be one of {', '.join(Became)}, got {quoted(value)}")
    return Became(value)


def _damaged(path: Path, line: int, error: Exception) -> BaselineError:
    what = f"it is not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
    if isinstance(error, _Later):
        return BaselineError(f"{path}:{line}: {what}:", "install the pytest-ocrsweep that wrote it")
    hint = "delete this line, or git's marks of a conflict around it: every other line stands by itself"
    return BaselineError(f"damaged history {path}:{line}: {printable(what)};", hint)
