"""Upgrades a sweep.sqlite: in version 1 `estimate_ns` was the kernel limit, without estimates; 2 to 4 lack views."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable

from ..baselines.json_layout import Json
from .sqlite_schema import ALL_VIEWS, ENERGY, MOVED, VERSION
from .sqlite_schema import TABLES as TODAY

OLD_VERSION = 1
VIEWS = {2: "", 3: MOVED, 4: MOVED + ENERGY}  # of versions whose tables are today's
TABLES = ("runs", "points", "components", "samples")  # those that others refer to come first
RENAMED = {"kernel_limit_ns": "estimate_ns"}  # each new name with its old one; only `points` has such columns
ADDED = ("estimate_device", "estimate_ns", "estimate_low_ns", "estimate_high_ns")


def _old_sql() -> str:
    """The tables of version 1, from those of today."""
    added = "|".join(ADDED)
    sql = re.sub(rf"^  (?:(?:{added}) .*|CHECK \(\(estimate_device .*)\n", "", TODAY, flags=re.MULTILINE)
    for new, old in RENAMED.items():
        sql = sql.replace(new, old)
    return sql


OLD_SQL = _old_sql()


def upgrade(db: sqlite3.Connection, lay_out: Callable[[], None]) -> None:
    """Move every run into new tables; the caller holds a transaction, and has compared the old ones with OLD_SQL."""
    for table in TABLES:
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    lay_out()
    for table in TABLES:
        names = [str(name) for (name,) in db.execute(f"SELECT name FROM pragma_table_info('{table}')")]
        kept = [name for name in names if name not in ADDED]
        old = [RENAMED.get(name, name) for name in kept]
        db.execute(f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(old)} FROM old_{table}")
    for table in reversed(TABLES):
        db.execute(f"DROP TABLE old_{table}")


def add_views(db: sqlite3.Connection, version: int) -> None:
    """Make of a version in VIEWS today's; the caller holds a transaction, and has compared tables and views."""
    for view in ALL_VIEWS:
        if view not in VIEWS[version]:
            db.execute(view)
    db.execute(f"PRAGMA user_version = {VERSION}")


def as_before(document: Json) -> Json:
    """A document as version 1 had it, for the digests that it wrote."""
    points = [
        {name: _floor(value) if name == "floor" else value for name, value in point.items() if name != "estimate"}
        for point in document["points"]
    ]
    return {**document, "points": points}


def _floor(floor: Json | None) -> Json | None:
    return floor and {RENAMED.get(name, name): value for name, value in floor.items()}
