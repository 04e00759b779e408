"""`ocrsweep completion`: a script by which a shell completes commands, options and their values; shtab writes it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

from ..errors import ArgumentError
from . import flags
from .flags import Subparsers

COMPLETE = "complete -o bashdefault -F _shtab_ocrsweep ocrsweep"
JOINED = """\
_ocrsweep() {
  local words=() at=$COMP_CWORD i
  for i in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[i]} == "=" && $i -gt 0 && ${COMP_WORDS[i-1]} == --* ]]; then
      [[ $i -eq $COMP_CWORD ]] && words+=("")
      [[ $i -lt $COMP_CWORD ]] && at=$((at - 1))
    else
      words+=("${COMP_WORDS[i]}")
    fi
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$at
  _shtab_ocrsweep "$@"
}
complete -o bashdefault -F _ocrsweep ocrsweep"""
EVALUATED = "$zsh_eval_context[-1] == eval"
SHELLS = ("bash", "zsh", "fish")
FILES = ("FILE", "SOURCE", "A", "B", "PAGE", "GRID|IMAGE", "PYTEST")  # metavars of what may be a file
EXAMPLES = """\
examples:
  eval "$(ocrsweep completion bash)"                                             in ~/.bashrc
  ocrsweep completion zsh > ~/.zfunc/_ocrsweep                                   a folder of zsh's $fpath
  ocrsweep completion fish > ~/.config/fish/completions/ocrsweep.fish

The script knows the names of models, engines and devices that there are when it is written.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "completion",
        help="a script by which bash, zsh or fish completes what you type",
        description="Print a script by which a shell completes commands, options and their values.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    flags.refuse(parser, dict.fromkeys(flags.ALL, "a script completes every setting"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise ArgumentError("shtab, which writes the script, is not installed:", "pip install shtab") from None
    from . import parser

    whole = parser()
    names = {group: _names(group) for group in ("model", "engine", "device")} | {"devices": _names("device")}
    for action in _actions(whole):
        if action.dest in names:
            action.choices = names[action.dest]
        elif action.metavar in FILES or action.metavar == "DIR":
            setattr(action, "complete", shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE)  # noqa: B010
    print(MENDED.get(options.shell, str)(shtab.complete(whole, options.shell)))
    return 0


def _bash(script: str) -> str:
    """bash cuts --option=value into three words. Without the middle one it is --option value, which shtab completes."""
    assert COMPLETE in script, "shtab registers its function in another way"
    return script.replace(COMPLETE, JOINED)


def _zsh(script: str) -> str:
    """--option=value too, arguments as often as they are typed, and `source` of the file as well as `eval` of it."""
    assert EVALUATED in script, "shtab registers its function in another way"
    script = script.replace(EVALUATED, "$zsh_eval_context[-1] == (eval|file)")
    script = re.sub(r'^(  "\*?--[\w-]+)(\[(?:[^\]\\]|\\.)*\]:)', r"\1=\2", script, flags=re.M)
    return re.sub(r'^  "\(\*\)::?', '  "*:', script, flags=re.M)


MENDED = {"bash": _bash, "zsh": _zsh}


def _names(group: str) -> list[str]:
    from ..sweep.search_path import choices

    return sorted(choices(group))


def _actions(whole: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    """The arguments of every subcommand, as its help has them."""
    found: list[argparse.Action] = []

    class Collecting(argparse.HelpFormatter):
        def add_argument(self, action: argparse.Action) -> None:
            found.append(action)

    def of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
        found.clear()
        parser.formatter_class = Collecting
        parser.format_help()
        return list(found)

    commands = [action.choices for action in of(whole) if isinstance(action.choices, dict)]
    return [action for each in commands for parser in each.values() for action in of(parser)]
