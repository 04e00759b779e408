"""Reads a file of any tool that is known: one object, a list of them, or one a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ...baselines.json_layout import Json
from ...errors import ResultFileError
from ...files import untrusted
from ...files.text import text_of
from . import aiperf, own, sglang_bench, vllm_bench
from .fields import Fields
from .tool_run import ToolRun

Reader = Callable[[Fields, int | None], ToolRun]

# By what an object has that no other tool's has; the first that fits reads it.
TOOLS: dict[str, tuple[Callable[[Json], bool], Reader]] = {
    own.NAME: (own.recognises, lambda fields, _: own.read(fields)),
    aiperf.NAME: (aiperf.recognises, lambda fields, _: aiperf.read(fields)),
    sglang_bench.NAME: (sglang_bench.recognises, lambda fields, _: sglang_bench.read(fields)),
    vllm_bench.SERVE: (vllm_bench.is_serve, lambda fields, _: vllm_bench.serve(fields)),
    vllm_bench.LATENCY: (vllm_bench.is_latency, lambda fields, _: vllm_bench.latency(fields)),
    vllm_bench.THROUGHPUT: (vllm_bench.is_throughput, vllm_bench.throughput),
}


def read(path: Path, new_tokens: int | None = None) -> list[ToolRun]:
    """The runs of a file, in its order; `new_tokens` is for tools that do not write it. Raises ResultFileError."""
    return [_read(where, raw, new_tokens) for where, raw in _objects(path)]


def _objects(path: Path) -> list[tuple[str, object]]:
    """The objects of a file, each with where it is."""
    try:
        text = untrusted.read(path).decode("utf-8")
    except OSError as error:
        raise ResultFileError(f"{path}: it cannot be read ({text_of(error)});", untrusted.remedy(error)) from None
    except UnicodeDecodeError as error:
        raise ResultFileError(f"{path}: it is not text ({error.reason} at byte {error.start})") from None
    if text.startswith("Metric,"):
        what = f"{path}: AIPerf's CSV names neither the model nor the load;"
        raise ResultFileError(what, "give profile_export_aiperf.json, which AIPerf writes beside it")
    lines = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith("{") for _, line in lines):  # no pretty-printed object does so
        return [(where, _parsed(where, line)) for where, line in lines]
    value = _parsed(str(path), text)
    if isinstance(value, list) and value:
        return [(f"{path}: run {number}", each) for number, each in enumerate(value, 1)]
    return [(str(path), value)]


def _parsed(where: str, text: str) -> object:
    """Infinity and NaN are read as numbers, since SGLang writes one for a rate; other fields refuse them."""
    try:
        return untrusted.parse_json(text, constant=float)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ResultFileError(f"{where}: it is not JSON ({at}column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise ResultFileError(f"{where}: it cannot be read ({text_of(error)})") from None


def _read(where: str, raw: object, new_tokens: int | None) -> ToolRun:
    if isinstance(raw, dict):
        for recognises, reader in TOOLS.values():
            if recognises(raw):
                return reader(Fields(where, raw), new_tokens)
    raise ResultFileError(f"{where}: no tool that is known here wrote this; known are {', '.join(TOOLS)}")
