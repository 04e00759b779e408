"""A program in a session of its own that we exchange lines with, and that leaves nothing running when it ends.

`end` kills the whole session. It also runs when Python ends, unless a signal ends Python: then our end of the pipe
closes, which the program can notice.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from ..files.text import printable

MOST_LINE = 16 << 20  # of an answer; those of a hundred thousand requests have 6 MB
LOG_LINES, LOG_LINE = 400, 2000  # what is kept of stderr
LOOK_S = 0.2  # how often a silent program is looked at
GRACE_S = 2  # what it wrote before its end may still come
KILLED = "it was killed (signal 9), as Linux does when memory runs out"
NOT_PASSED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")  # they belong to our interpreter
TELLING = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*")


class Child:
    """Raises OSError if the program cannot be started. `log` gets all that it writes to stderr."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> None:
        file = open(log or os.devnull, "wb", buffering=0)  # noqa: SIM115  # the thread that writes it closes it
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_PASSED}
        try:
            self._process = subprocess.Popen(
                words,
                env={**inherited, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException:
            file.close()
            raise
        self.end = weakref.finalize(self, _end, self._process, os.getpid())
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._log: deque[bytes] = deque(maxlen=LOG_LINES)
        _thread(_hear, self._process.stdout, self._lines)
        self._logging = _thread(_keep, self._process.stderr, self._log, file)

    def say(self, line: bytes) -> None:
        """Writes a line, even if the program is slow to read it; one to a program that has ended is lost."""
        _thread(_write, self._process.stdin, line + b"\n")

    def hear(self, limit_s: float) -> bytes:
        """The next line; empty if it ended before. Raises TimeoutError."""
        until = time.monotonic() + limit_s
        ended = False
        while time.monotonic() < until:
            with suppress(queue.Empty):
                return self._lines.get(timeout=LOOK_S)
            if not ended and _has_ended(self._process):
                self.end()  # what it started could hold its stdout open
                ended, until = True, time.monotonic() + GRACE_S
        if ended:
            return b""
        raise TimeoutError

    def how_it_ended(self) -> str:
        """Its exit code or signal and the last words of its log. It runs no more then."""
        until = time.monotonic() + GRACE_S
        while not _has_ended(self._process):  # its stdout ends a moment before it does
            if time.monotonic() > until:
                self.end()
                return f"it closed its stdout, {self.last_words()}"
            time.sleep(LOOK_S / 10)
        self.end()
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return KILLED
        self._logging.join(GRACE_S)
        return f"{f'exit code {code}' if code >= 0 else f'signal {-code}'}, {self.last_words()}"

    def last_words(self) -> str:
        """The last line of its log that names an error, else the last line."""
        lines = [line.decode(errors="replace").strip() for line in tuple(self._log)]
        lines = [line for line in lines if line]
        errors = [match[0] for line in lines if (match := TELLING.search(line))]
        found = (errors or lines)[-1:]
        return f"its log ends with: {printable(found[0], 300)}" if found else "its log is empty"


def _thread(function: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _write(stream: BinaryIO, line: bytes) -> None:
    with suppress(BrokenPipeError, ValueError):  # ValueError: it was closed
        stream.write(line)
        stream.flush()


def _hear(stream: BinaryIO, lines: queue.Queue[bytes]) -> None:
    """Hands on each line, and an empty one at the end; nothing after a line that has no end."""
    with stream:
        while (line := stream.readline(MOST_LINE)).endswith(b"\n"):
            lines.put(line)
        lines.put(line)
        lines.put(b"")


def _keep(stream: BinaryIO, kept: deque[bytes], log: FileIO) -> None:
    with stream, log:
        while line := stream.readline(LOG_LINE):
            kept.append(line)
            with suppress(OSError):  # a full disk must not keep the program from writing
                log.write(line)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; it is not waited for, so that its number stays that of its session."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a fork of the process that started it
        return
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
