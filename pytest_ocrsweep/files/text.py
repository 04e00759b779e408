"""Text from files, names and environments, made fit for a message, a terminal or a Markdown page.

Whatever is written to people passes `terminal_line` or `markdown` last: nothing in it is obeyed by what shows it.
"""

from __future__ import annotations

import os
import re
import reprlib

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100

# As text, because every pytest run in an environment imports this file: `re` compiles them when they are first used.
COMMAND = r"^(\s*:)(?=:)|##(?=\[)"  # GitHub's runner obeys lines that begin with "::", and "##[" anywhere
WORD = r"""(?:[\w@%+=:,./-]|'[^'\n]*'|"'"|\$'(?:[^'\\\n]|\\['\\x])*')+"""  # of `command`: a shell obeys nothing in it
OURS = rf"(?a:(?:pytest|ocrsweep)(?: {WORD})*)"
MARKUP = r"([\\`*_\[\]<>|&#~$])"
LINKED = r"(?i:(@|#|:(?=//)|\bwww(?=\.)|\bGH(?=-)))"  # mentions, issues, addresses


def quoted(value: object) -> str:
    """The repr of a value, cut to fit into a line."""
    return SHORT.repr(value)


def text_of(error: Exception) -> str:
    """What is wrong, on one line; of an OSError without the path, which its message names already."""
    return printable(error.strerror if isinstance(error, OSError) and error.strerror else str(error))


def printable(text: str, most: int | None = 200) -> str:
    """`text` on one line, without characters that a terminal would obey, cut to `most` characters."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return plain if most is None or len(plain) <= most else plain[: most - 1] + "…"


def command(*words: str) -> str:
    """Words as a shell takes them; those that a terminal would obey by their bytes, in $'…' of bash, zsh and ksh."""
    import shlex

    return " ".join(shlex.quote(word) if terminal_line(word) == word else f"$'{_by_bytes(word)}'" for word in words)


def is_command(text: str) -> bool:
    """Whether it is a line as `command` makes them that runs one of our programs, and nothing else, in a shell.

    What stands in a report of somebody else is no command to offer to a reader before this is known.
    """
    return re.fullmatch(OURS, text) is not None


def _by_bytes(word: str) -> str:
    def shown(char: str) -> str:
        if char in "\\'":
            return f"\\{char}"
        return (
            char if char.isprintable() and char not in ":#" else "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        )

    return "".join(map(shown, word))


def terminal_line(text: str) -> str:
    """A line for a terminal or the log of a CI job, as it is but for what either would obey."""
    return re.sub(COMMAND, r"\g<0> ", printable(text, most=None))


def terminal_lines(text: str) -> str:
    """The same for each line of a message of several."""
    return "\n".join(map(terminal_line, text.split("\n")))


def markdown(value: object) -> str:
    """A value as plain text of a Markdown page, on one line: no markup, no mention, no link."""
    plain = printable(" ".join(str(value).split()), most=None)
    return re.sub(LINKED, "\\g<1>\u200b", re.sub(MARKUP, r"\\\1", plain))
