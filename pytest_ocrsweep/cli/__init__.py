"""`ocrsweep` on the command line: a module a subcommand, each thin over what Python offers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

COMMANDS = ("cost", "sweep", "shapes", "report", "compare", "devices", "fits", "size")

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE

EXAMPLES = """\
examples:
  ocrsweep cost 2x3                                      what a page of 2 rows and 3 columns of crops costs
  ocrsweep cost page.png --stage prefill --depth 2       the same of a page image, stage by stage, part by part
  ocrsweep sweep --device h100 --report out              every grid of the vendor, and its report
  ocrsweep shapes --crops 1..1000 --db shapes.sqlite     a thousand page shapes, to sweep or to SELECT from
  ocrsweep compare main/sweep.json out                   what changed between two reports
  ocrsweep fits 2x3 --device rtx-4090                    whether it fits, and the largest batch and page that do
  ocrsweep size 2x3 --ttft 0.5 --tpot 0.02               what a target takes, and which devices have it

A grid is ROWSxCOLUMNS of crops: the tiles, 640 pixels wide and high, that the model cuts a page into beside a view of
the whole; 1x1 is a page without crops. A stage is vision, prefill or decode. The vendor is the model's own code.
ocrsweep COMMAND --help says more. Exit codes: 0 done, 1 `compare` found a difference, 2 a wrong argument or file.
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, keeps examples as they are written, and never guesses an option's end."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {_one_line(message)} (see {self.prog} --help)\n")


class Version(argparse.Action):
    """Looks the version up only when asked: it takes longer than all other options together."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"{parser.prog} {version('pytest-ocrsweep')}")
        parser.exit()


def parser() -> Parser:
    """Every subcommand with its options; `run` of what it parses is the subcommand's function."""
    made = Parser(
        prog="ocrsweep",
        description="What DeepSeek-OCR inference costs for a page, counted exactly, without torch or a GPU.",
        epilog=EXAMPLES,
    )
    made.add_argument("--version", action=Version, nargs=0, help="print the version and stop")
    subparsers = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").add(subparsers)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; gives its exit code. Raises SystemExit, as argparse does, for --help and usage errors."""
    if isinstance(sys.stdout, TextIOWrapper):  # it may be closed
        sys.stdout.reconfigure(errors="replace")  # a terminal without box drawing gets a tree with question marks
    try:
        options = parser().parse_args(argv)
        code: int = options.run(options)
        print(end="", flush=True)  # here, where a closed pipe can still be told
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except OSError as error:
        where, what = error.filename or "the output", error.strerror or error
        return _failed(f"{where}: {what}; check the path, its permissions and the space left", USAGE)
    except ValueError as error:
        if not type(error).__module__.startswith(f"{__package__.partition('.')[0]}."):
            raise  # not one that this package raises on purpose: a bug, with its traceback
        return _failed(str(error), USAGE)
    return code


def _failed(message: str, code: int) -> int:
    print("ocrsweep:", _one_line(message), file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    """Names of files and arguments may hold anything."""
    from ..files.text import printable

    return printable(message, most=None)
