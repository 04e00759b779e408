"""A command that a message shows is one that a shell runs with the very same words."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from pytest_ocrsweep.files.text import command, terminal_line

WORDS = ["\x1b[31mred", "::error file=a.py::stop", "a ##[error]b", "one\ntwo\r::warning::three", "\u202eright to left"]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize("word", [*WORDS, "two words", "it's\t\\n", "b\udcff\udcfe.png", "caf\xe9", ""])
def test_a_printed_command_gives_a_shell_the_very_words(word):
    printed = terminal_line(command(sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", word))
    assert printed.isprintable()
    done = subprocess.run(["bash", "-c", printed], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii([word])
