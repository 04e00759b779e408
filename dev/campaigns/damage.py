"""Damage that keeps to an input's structure, so that it reaches what lies behind "this is not JSON"."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

Raw = Callable[[bytes], bytes]  # damage to plain bytes: the fuzzer's own
Damage = Callable[[bytes, Random, Raw], bytes]

DEEP, LONG = "@deep@", "@long@"  # what no JSON library writes: put in as text
TEXTS = ["", "x", "NaN", "\0", "a\nb", "\x1b[31m", "\ud800", "🂡", "../../x", "/etc/passwd", "9" * 5000, "1x1", "2x3"]
TEXTS += ["999999x999999", "0x1", "gundam", "flash", "eager", "cpu", "x" * 300, "schema", "__class__", "${oc.env:HOME}"]
TEXTS += [
    "::error::x",
    " ::stop",
    "##[group]x",
    "@octocat #1 GH-1",
    "www.a.b http://c",
    "<img src=x onerror=y>",
    "[a](b)",
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    255,
    2**31,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**15,
    10**30,
    10**400,
    1.5,
    -0.0,
    1e-9,
    1e308,
]
ODD: list[Any] = [None, True, False, [], {}, [[]], {"": {}}, float("nan"), float("inf"), DEEP, LONG, *TEXTS, *NUMBERS]


def pack(*parts: bytes) -> bytes:
    """Several files as one input."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def unpack(data: bytes) -> list[bytes]:
    parts = []
    while len(data) >= 4:
        (size,) = struct.unpack(">I", data[:4])
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return parts


def parts(data: bytes, count: int) -> list[bytes]:
    """As many as there should be."""
    return [*unpack(data), *[b""] * count][:count]


def packed(*of_parts: Damage) -> Damage:
    """One of the parts is damaged, each in its own way."""

    def damage(data: bytes, rng: Random, raw: Raw) -> bytes:
        parts = unpack(data)
        at = rng.randrange(len(parts)) if parts else 0
        if at < len(of_parts):
            parts[at] = of_parts[at](parts[at], rng, raw)
        return pack(*parts)

    return damage


def kept(data: bytes, rng: Random, raw: Raw) -> bytes:
    """A part that only says what the others are."""
    return data


def tree(data: bytes, rng: Random, raw: Raw) -> bytes:
    """JSON: values replaced, moved, doubled, renamed and nested; now and then its bytes."""
    try:
        return raw(data) if rng.random() < 0.1 else _tree(json.loads(data), rng)
    except (ValueError, RecursionError, OverflowError):  # it is not JSON, or JSON that cannot be written again
        return raw(data)


def _tree(root: Any, rng: Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        root = _changed(root, rng)
    text = json.dumps(root, indent=rng.choice((None, None, 1)))
    if rng.random() < 0.05 and (keys := list(re.finditer(r'"[a-z_]+": ', text))):
        key = rng.choice(keys)
        text = text[: key.start()] + key[0] + "1, " + text[key.start() :]
    text = text.replace(json.dumps(DEEP), "[" * (depth := rng.choice((10, 900, 100_000))) + "]" * depth)
    return text.replace(json.dumps(LONG), "9" * 5000).encode()


def _places(node: Any, most: int = 3000) -> list[tuple[Any, Any]]:
    """Every container and key or index in it."""
    found: list[tuple[Any, Any]] = []
    todo = [node]
    while todo and len(found) < most:
        at = todo.pop()
        keys: Iterator[Any] = iter(at if isinstance(at, dict) else range(len(at)))
        for key in keys:
            found.append((at, key))
            if isinstance(at[key], dict | list):
                todo.append(at[key])
    return found


def _changed(root: Any, rng: Random) -> Any:
    places = _places(root) if isinstance(root, dict | list) else []
    if not places or rng.random() < 0.01:
        return rng.choice(ODD)
    holder, key = rng.choice(places)
    value, what = holder[key], rng.randrange(8)
    if what == 0:
        del holder[key]
    elif what == 1:
        other, there = rng.choice(places)
        with suppress(LookupError):  # just deleted from a list
            holder[key] = json.loads(json.dumps(other[there]))
    elif what == 2 and type(value) in (int, float):
        holder[key] = rng.choice((value + 1, value - 1, -value, value * 2, float(value), str(value)))
    elif what == 3 and isinstance(holder, dict):
        holder[rng.choice((*TEXTS, key + "x", key.upper()))] = holder.pop(key)
    elif what == 4:
        holder[key] = [value] if rng.random() < 0.5 else {"x": value}
    elif what == 5 and isinstance(holder, list):
        holder.insert(key, json.loads(json.dumps(value)))
    elif what == 6 and isinstance(value, str):
        holder[key] = words(value.encode("utf-8", "replace"), rng, lambda data: data).decode("utf-8", "replace")
    else:
        holder[key] = rng.choice(ODD)
    return root


def words(data: bytes, rng: Random, raw: Raw, tokens: Sequence[str] = ()) -> bytes:
    """Text: pieces of it, lines of it and numbers in it doubled, moved, dropped and replaced."""
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.1:
        return raw(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        what = rng.randrange(6)
        split = "\n" if "\n" in text and rng.random() < 0.5 else None
        pieces = text.split(split) if split else re.split(r"([^\w.-]+)", text)
        at = rng.randrange(len(pieces))
        if what == 0:
            del pieces[at]
        elif what == 1:
            pieces.insert(rng.randrange(len(pieces) + 1), pieces[at])
        elif what == 2:
            pieces[at] = str(rng.choice((*TEXTS, *NUMBERS)))
        elif what == 3:
            pieces.insert(at, rng.choice((*tokens, *":,=[]{}()'\"\\#&*!|>%@`-~+$ \t\r\u2028\ufeff")))
        elif what == 4 and tokens:
            pieces[at] = rng.choice(tokens)
        else:
            pieces[at] = rng.choice("[{(-'\"") * rng.choice((1, 2, 50, 1000))
        text = (split or "").join(pieces)
    return text[:60_000].encode("utf-8", "replace")


def of(tokens: Sequence[str]) -> Damage:
    """Text of these words."""
    return lambda data, rng, raw: words(data, rng, raw, tokens)
