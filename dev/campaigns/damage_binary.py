"""Damage to binary files that keeps to their structure: SQLite databases, images, safetensors."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing, suppress
from random import Random

from damage import NUMBERS, TEXTS, Raw, tree

SQL = ["DELETE FROM {table}", "DROP TABLE {table}", "ALTER TABLE {table} RENAME TO other", "PRAGMA user_version = 7"]
SQL += ["PRAGMA application_id = 7", "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END"]
SQL += ["ALTER TABLE {table} ADD COLUMN odd TEXT", "CREATE INDEX i ON {table} ({column})", "PRAGMA journal_mode = WAL"]
SQL += ["DELETE FROM {table} WHERE rowid % 2", "UPDATE {table} SET {column} = {column} + 1"]
ENDLESS = (
    "CREATE VIEW {table} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS {column} FROM c"
)
SIZES = [0, 1, 2, 255, 640, 13_000, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def database(data: bytes, rng: Random, raw: Raw) -> bytes:
    """SQLite: cells, rows, tables, what stands in a table's place; now and then its pages' bytes."""
    if rng.random() < 0.3:
        return spots(data, rng, raw)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        try:
            db.deserialize(data)
            db.execute("PRAGMA ignore_check_constraints = ON")
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for _ in range(rng.choice((1, 1, 2))):
                _altered(db, rng.choice(tables), rng)
            return db.serialize()
        except (sqlite3.Error, UnicodeError, IndexError, MemoryError):  # the last is of an empty file
            return spots(data, rng, raw)


def _altered(db: sqlite3.Connection, table: str, rng: Random) -> None:
    columns = [column for _, column, *_ in db.execute(f"PRAGMA table_info({table})")]
    column, what = rng.choice(columns), rng.random()
    with suppress(sqlite3.Error, OverflowError, UnicodeError):  # a STRICT table takes little of it
        if what < 0.15:
            db.execute(rng.choice(SQL).format(table=table, column=column))
        elif what < 0.2:
            db.execute(f"DROP TABLE {table}")
            db.execute(ENDLESS.format(table=table, column=column))
        elif what < 0.3 and "more" in columns:
            (more,) = db.execute(f"SELECT more FROM {table} LIMIT 1").fetchone() or ("{}",)
            db.execute(f"UPDATE {table} SET more = ?", (tree(str(more).encode(), rng, lambda some: some).decode(),))
        else:
            rows = [row for (row,) in db.execute(f"SELECT {columns[0]} FROM {table} LIMIT 9")] or [0]
            value = rng.choice((*TEXTS, *NUMBERS, None, b"\xff", "{}", "[]"))
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {columns[0]} = ?", (value, rng.choice(rows)))


def spots(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A binary file: sizes in it, most in its beginning, pieces of it, its end; else the fuzzer's own damage."""
    made, what = bytearray(data), rng.random()
    if len(made) < 16 or what < 0.3:
        return raw(data)
    at = rng.randrange(min(len(made), 128) if rng.random() < 0.6 else len(made))
    if what < 0.6:
        size = rng.choice((1, 2, 3, 4, 8))
        made[at : at + size] = (rng.choice(SIZES) % 256**size).to_bytes(size, rng.choice(("big", "little")))
    elif what < 0.75:
        del made[at:]
    elif what < 0.85:
        del made[at : at + rng.choice((1, 4, 8, 64))]
    else:
        there = rng.randrange(len(made))
        made[at:at] = made[there : there + rng.choice((4, 12, 64))]
    return bytes(made)


def picture(data: bytes, rng: Random, raw: Raw) -> bytes:
    """An image; a PNG's checksums are made right again, or nothing behind them would be read."""
    made = bytearray(spots(data, rng, raw))
    if made[:4] == b"\x89PNG" and rng.random() < 0.8:
        at = 8
        while at + 12 <= len(made):
            end = at + 8 + int.from_bytes(made[at : at + 4], "big")
            if end + 4 > len(made):
                break
            made[end : end + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4, "big")
            at = end + 4
    return bytes(made)


def tensors(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A safetensors file: its header as JSON, or its bytes."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3 or not 0 < size <= len(data) - 8:
        return spots(data, rng, raw)
    header = tree(data[8 : 8 + size], rng, raw)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]
