"""A shell at a terminal: what a person gets who types the start of a line and then TAB."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import time
from pathlib import Path

MOST_S = 60  # until a shell has answered, on a busy machine
SHOW = "ocrsweep() { printf '<%s>' \"$@\"; printf '\\001\\n'; }"  # in place of the command: what it was called with
SETUP = {
    "bash": "bind 'set bell-style none'; source {script}",
    "zsh": "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; setopt no_beep",
}
START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}


def typed(shell: str, script: Path, line: str, setup: str = "") -> list[str]:
    """The arguments of `ocrsweep` after TAB and RETURN at the end of `line`, with the completions of `script`.

    `setup` is another way to load it.
    """
    path = shutil.which(shell)
    assert path
    child, terminal = pty.fork()
    if child == 0:
        os.execve(path, [shell, *START[shell]], {**os.environ, "TERM": "dumb", "COLUMNS": "200", "PS1": "$ "})
    try:
        setup = (setup or SETUP[shell]).format(script=script, folder=script.parent)
        os.write(terminal, f"{setup}\n{SHOW}\n".encode())
        os.write(terminal, f"{line}\t\n".encode())
        shown = _read(terminal)
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(child, 0)
    return shown.rpartition("\x01")[0].rpartition("\n")[2].removeprefix("<").removesuffix(">").split("><")


def _read(terminal: int) -> str:
    """What the shell printed until the command ran."""
    shown, end = b"", time.monotonic() + MOST_S
    while b"\x01" not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65_536)
    assert b"\x01" in shown, shown.decode(errors="replace")
    return shown.decode(errors="replace")
