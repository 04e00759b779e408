"""`ocrsweep` on the command line: one module for each subcommand, each a thin layer over the Python API."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from ..errors import OcrsweepError
from ..files.near_miss import did_you_mean
from ..files.text import terminal_line
from ..sweep import search_path
from . import flags, settings

COUNTING = (
    *("init", "cost", "sweep", "shapes", "report", "compare", "merge", "history", "import"),
    *("devices", "fits", "size", "plan"),
)
COMMANDS = (*COUNTING, "profile", "calibrate", "gate", "completion")

CONFIG_DIR = (
    "your own models, devices, engines and workloads: a folder with model/, device/, engine/, precision/, workload/ "
    "(default: "
    "ocrsweep_config_dir of the ini file)"
)

MODULES = {"import": "import_results"}  # a command whose name no statement could import

USAGE = 2
USAGE_OF = {"gate": 4}  # as pytest's, beside which it runs in CI
CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")  # argparse's words
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE

EXAMPLES = """\
examples:
  ocrsweep init                                          begin in your own project: suites, workflow, baselines
  ocrsweep cost 2x3                                      what a page of 2 rows and 3 columns of crops costs
  ocrsweep cost page.png --stage prefill --depth 2       the prefill of a page image, part by part
  ocrsweep sweep --device h100 --report out              every grid that the model supports, with a report
  ocrsweep shapes --crops 1..1000 --db shapes.sqlite     a thousand page shapes, to sweep or to SELECT from
  ocrsweep compare main/sweep.json out                   what changed between two reports
  ocrsweep merge report-0 report-1 --report whole        the reports of separate runs of one sweep as one
  ocrsweep history decode 2x3                            a recorded time over months, and its drift
  ocrsweep import bench.json --grid 3x2 --gpu h100       what another tool measured of a server, gated
  ocrsweep fits 2x3 --device rtx-4090                    whether it fits, and the largest batch and page that fit
  ocrsweep plan 3x2 --engine vllm --concurrency 64       what serving such pages comes to, on every device
  ocrsweep size 2x3 --ttft 0.5 --tpot 0.02               the rates that latency targets need from a device
  ocrsweep profile 2x3 --stage decode                    where the time goes on this GPU, line by line
  ocrsweep calibrate --output my-gpu.json                the constants from which times on this GPU are estimated
  ocrsweep gate --against main                           whether the working tree is slower than another revision

A grid is ROWSxCOLUMNS of crops. The model reads one view of the whole page, and crops of 640 x 640 pixels; 1x1 is a
page without crops. The stages are vision, prefill (which contains vision) and decode.
`ocrsweep COMMAND --help` has more. Exit codes: 0 done, 1 `compare` found a difference, or `gate` or
`import` a slowdown, 2 a wrong argument or file; of `gate` 4, as of pytest.
"""


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, prints examples unwrapped, and refuses abbreviated options."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses what it does not know itself: the whole parser, which else would, has no option of a subcommand."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = re.findall(r"--[\w-]+", self.format_help())
            wrong = next((word.partition("=")[0] for word in unknown if word.startswith("--")), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(wrong, known) if wrong else ''}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        if wrong := CHOICE.search(message):  # all choices are of use only if none is near
            meant = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
            message = CHOICE.sub(f"invalid choice: {wrong[1]!r}{meant}", message) if meant else message
        code = USAGE_OF.get(self.prog.rpartition(" ")[2], USAGE)
        self.exit(code, f"{self.prog}: {terminal_line(message)} (see {self.prog} --help)\n")


class Version(argparse.Action):
    """Prints the version, which it looks up only then: that takes longer than to add all options."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"{parser.prog} {version('pytest-ocrsweep')}")
        parser.exit()


def parser() -> Parser:
    """A parser with every subcommand. `run` in the namespace that it gives is the function of the subcommand."""
    whole = Parser(
        prog="ocrsweep",
        description="What DeepSeek-OCR inference costs for a page, counted exactly, without torch or a GPU.",
        epilog=EXAMPLES,
    )
    whole.add_argument("--version", action=Version, nargs=0, help="print the version and stop")
    subparsers = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name in COMMANDS:
        import_module(f"{__name__}.{MODULES.get(name, name)}").add(subparsers)
    for subcommand in subparsers.choices.values():
        subcommand.add_argument("--config-dir", metavar="DIR", type=flags.path, help=CONFIG_DIR)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code. Raises SystemExit, as argparse does, for --help and usage errors."""
    usage = USAGE
    if isinstance(sys.stdout, TextIOWrapper):  # it may be closed
        sys.stdout.reconfigure(errors="replace")  # a terminal without box drawing gets a tree with question marks
    try:
        options = parser().parse_args(argv)
        usage = USAGE_OF.get(options.command, USAGE)
        with search_path.searching(search_path.of_command(options.config_dir)):
            settings.apply(options)
            code: int = options.run(options)
        print(end="", flush=True)  # here, so that a closed pipe is caught
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except OSError as error:
        _drop_output()
        where, what = error.filename or "the output", error.strerror or error
        return _failed(f"{where}: {what}; check the path, its permissions and the space left", USAGE)
    except OcrsweepError as error:  # any other ValueError is a bug, with its traceback
        return _failed(str(error), usage)
    return code


def _drop_output() -> None:
    """Give up what stdout does not take: Python would try again at its exit, complain, and change the exit code."""
    with suppress(OSError):
        if sys.stdout is not None:  # the parent process may have closed it
            sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(message: str, code: int) -> int:
    print("ocrsweep:", terminal_line(message), file=sys.stderr)
    return code
