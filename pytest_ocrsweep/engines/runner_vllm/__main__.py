"""Commands come as lines of JSON on stdin, and answers go as lines of JSON to stdout.

The first line says who answers and in which protocol. Then each command (`start`, `about`, `run`) is answered with
{"done": value} or {"failed": {"kind", "line"}}. The process ends, with all that it started, when its stdin ends, so
that it does not outlive the process that started it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, TextIO

Row = dict[str, Any]  # a line of the protocol
PROTOCOL = 2
HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "runner_vllm"
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # the model is in reach, and nothing is sent to and fro
MEMORY = (
    "out of memory",
    "memoryerror",
    "can't allocate memory",
    "no available memory for the cache blocks",  # this and the others are vLLM's, when it starts
    "kv cache is needed, which is larger than",
    "less than desired",
)


def part(name: str) -> Any:
    """A module of this folder. What lies on Python's path is the engine's alone: neither this folder nor the one above,
    whose http.py would be taken for Python's own.
    """
    if NAME not in sys.modules:
        spec = spec_from_file_location(NAME, os.path.join(HERE, "__init__.py"), submodule_search_locations=[HERE])
        assert spec is not None
        sys.modules[NAME] = module_from_spec(spec)
    return import_module(f"{NAME}.{name}")


def listen(stream: TextIO, commands: queue.Queue[Row]) -> None:
    """Hands on each command, and ends everything when the stream ends: whoever started this is gone."""
    for line in stream:
        commands.put(json.loads(line))
    if os.getpgrp() == os.getsid(0):  # a session of our own, not a job of somebody's shell
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def answer(engine: Any, command: Row) -> Row:
    """The answer to a command. After a failure of the kind `refused` the engine is as before; after others, lost."""
    try:
        return {"done": getattr(engine, command.pop("command"))(**command)}
    except BaseException as error:
        if (kind := getattr(error, "kind", None)) is not None:
            return _failed(kind, str(error))
        traceback.print_exc()
        line = f"{type(error).__name__}: {error}"
        return _failed("memory" if any(text in line.lower() for text in MEMORY) else "engine", line)


def _failed(kind: str, line: str) -> Row:
    return {"failed": {"kind": kind, "line": " ".join(line.split())[:1000]}}


def main() -> None:
    # The engine prints to stdout and could read stdin: it gets stderr for the one, and nothing for the other.
    answers, stream = os.fdopen(os.dup(1), "w", encoding="utf-8"), os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.remove(HERE)
    os.environ.update({**ENVIRONMENT, **os.environ, **ONE_PROCESS})

    def say(row: Row) -> None:
        print(json.dumps(row), file=answers, flush=True)

    offline = part("offline")
    say({"protocol": PROTOCOL, "engine": "vllm", **offline.versions()})
    commands: queue.Queue[Row] = queue.Queue()
    threading.Thread(target=listen, args=(stream, commands), daemon=True).start()
    engine = offline.OfflineEngine()
    while True:
        say(answer(engine, commands.get()))


if __name__ == "__main__":
    main()
