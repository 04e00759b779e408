"""Times an engine by hand: `python -m pytest_ocrsweep.engines --python … --model DIR` or `--url http://…`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from ..errors import EngineError
from ..files.text import quoted, terminal_line
from ..hardware.served_load import pages_of
from .about import About, StartOptions
from .http import HttpEngine
from .process import EngineProcess, Runner
from .saved import SavedRows
from .served import Load, ServedLoad, summary

USAGE = 4  # as of pytest, whose points these become
INTERRUPTED = 130
HEADINGS = (
    "concurrency",
    "pages",
    "TTFT ms",
    "p99",
    "TPOT ms",
    "p99",
    "pages/s",
    "tokens/s",
    "render ms",
    "J/page",
    "prompt",
)
MS = 1e6
MJ = 1e3  # in a joule
EPILOG = """\
examples:
  python -m pytest_ocrsweep.engines --python /opt/vllm/bin/python --model DIR --page 1240x1754 --concurrency 1,8
  python -m pytest_ocrsweep.engines --url http://127.0.0.1:8000 --new-tokens 100

An offline engine's times are without rendering a page (render ms has it); a server's times contain it.
The variable OPENAI_API_KEY holds a server's key.
"""


class OneLineParser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {terminal_line(message)} (see --help)\n")


def parser() -> argparse.ArgumentParser:
    whole = OneLineParser(
        prog="python -m pytest_ocrsweep.engines",
        description="Times pages through an engine that people serve with; a row for each concurrency.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    engine = whole.add_mutually_exclusive_group(required=True)
    engine.add_argument("--python", metavar="PATH", help="an interpreter with vLLM, which we start")
    engine.add_argument("--url", help="a running server with the OpenAI protocol")
    whole.add_argument("--model", metavar="DIR|NAME", help="the model's folder, or its name at the server")
    whole.add_argument("--page", metavar="WIDTHxHEIGHT", type=page, default=(1240, 1754), help="in pixels")
    whole.add_argument("--concurrency", metavar="N,…", type=numbers, default=[1], help="requests in flight")
    whole.add_argument("--new-tokens", metavar="N", type=number, default=100)
    whole.add_argument("--pages", metavar="N", type=number, help="a row (default: 4 times its concurrency, at least 8)")
    whole.add_argument("--seed", metavar="N", type=int, default=0, help="of the pages")
    whole.add_argument("--limit", metavar="SECONDS", type=number, default=600, help="of a request, or a row offline")
    whole.add_argument("--save", metavar="FILE", type=Path, help="add each row to it, for `ocrsweep import`")
    offline = whole.add_argument_group("with --python")
    offline.add_argument("--weights", choices=["random", "real"], default="random")
    offline.add_argument("--dtype", default="bfloat16")
    offline.add_argument("--encoder-graphs", action="store_true", help="vLLM's cudagraph_mm_encoder")
    offline.add_argument("--enforce-eager", action="store_true", help="no CUDA graphs at all")
    for name in ("max-crops", "max-num-seqs", "max-model-len", "max-num-batched-tokens", "kv-cache-memory-bytes"):
        offline.add_argument(f"--{name}", metavar="N", type=number)
    offline.add_argument("--gpu-memory-utilization", metavar="FRACTION", type=float)
    offline.add_argument("--log", metavar="FILE", type=Path, help="gets all that the engine prints")
    return whole


def number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {quoted(text)}")
    return int(text)


def numbers(text: str) -> list[int]:
    return [number(each.strip()) for each in text.split(",")]


def page(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, as 1240x1754, got {quoted(text)}")
    return number(width), number(height)


def opened(options: argparse.Namespace) -> HttpEngine | EngineProcess:
    """The engine, started. Raises EngineError."""
    if options.url:
        key = os.environ.get("OPENAI_API_KEY")
        return HttpEngine(options.url, options.model, key=key, limit_s=options.limit)
    runner = Runner(options.python, log=options.log, answer_s=options.limit)
    names = StartOptions.__slots__
    given = {name: value for name, value in vars(options).items() if name in names and name != "model"}
    engine = EngineProcess(runner)
    engine.start(StartOptions(Path(options.model), **given))
    return engine


def load(options: argparse.Namespace, concurrency: int) -> Load:
    width, height = options.page
    pages = options.pages or pages_of(concurrency)
    return Load(width, height, pages, concurrency, options.new_tokens, seed=options.seed)


def shown(about: About) -> str:
    """The engine in a line: what it says about itself."""
    parts = [f"{about.engine} {about.version or '(version unknown)'}", about.model, about.gpu]
    if about.weight_bytes is not None:
        parts.append(f"weights {about.weight_bytes:,} bytes")
    if about.kv_bytes_per_token is not None and about.kv_blocks is not None and about.kv_block_tokens is not None:
        parts.append(f"KV {about.kv_bytes_per_token:,} bytes a token")
        parts.append(f"{about.kv_blocks:,} blocks of {about.kv_block_tokens}")
    if about.attention is not None:
        parts.append(f"attention {about.attention}")
    return ", ".join(part for part in parts if part)


def row(served: ServedLoad) -> list[str]:
    total = summary(served)
    times = (total.ttft_ns, total.ttft_p99_ns, total.tpot_ns, total.tpot_p99_ns)
    return [
        str(served.load.concurrency),
        str(len(served.requests)),
        *(_scaled(each, MS, 2) for each in times),
        _scaled(total.pages_per_s, 1, 2),
        _scaled(total.tokens_per_s, 1, 1),
        _scaled(total.render_ns, MS, 1),
        _scaled(total.energy_mj_per_page, MJ, 2),
        str(served.requests[0].prompt_tokens),
    ]


def _scaled(value: float | None, unit: float, digits: int) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def show(cells: Sequence[str]) -> None:
    print("  ".join(cell.rjust(len(heading)) for cell, heading in zip(cells, HEADINGS, strict=True)), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    whole = parser()
    options = whole.parse_args(argv)
    if options.python and not options.model:
        whole.error("--python needs --model DIR")
    if options.pages and options.pages < max(options.concurrency):
        whole.error(f"--pages {options.pages} are never {max(options.concurrency)} at once: give at least as many")
    if options.save and options.log and options.save.absolute() == options.log.absolute():
        whole.error("--log and --save name one file, and the log would take its place: name two")
    try:
        with ExitStack() as stack:
            saved = stack.enter_context(SavedRows(options.save)) if options.save else None
            if saved and saved.cut:
                line = f"{saved}: its last line has no end, as of a writer that was killed: rows begin on a new one"
                print("ocrsweep:", terminal_line(line), file=sys.stderr)
            engine = opened(options)
            stack.callback(engine.close)
            print(terminal_line(shown(engine.about())))
            show(HEADINGS)
            for concurrency in options.concurrency:
                served = engine.run(load(options, concurrency))
                show(row(served))
                if saved:
                    saved.add(engine.about(), served)
    except EngineError as error:
        done = f" ({len(error.requests)} pages were done before)" if error.requests else ""
        print("ocrsweep:", terminal_line(f"{error}{done}"), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("ocrsweep: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
