"""`ocrsweep import`: what other tools measured of a server, gated by recorded runs and reported."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError, ReportError, ResultFileError
from ..files.text import quoted
from . import flags, import_names
from .flags import Subparsers

if TYPE_CHECKING:
    from ..baselines.recorded_file import Recorded
    from ..baselines.serving import Pages
    from ..report.imported.placed import Placed, Said
    from ..report.serving import JudgedServing
    from ..sweep.settings import Settings

GREEN, RED, USAGE = 0, 1, 2
JSON, PAGE = "serving.json", "serving.md"

EXAMPLES = """\
examples:
  ocrsweep import bench.json --grid 3x2 --gpu h100                      judge a run by the recorded ones
  ocrsweep import run-*.json --page 1240x1754 --gpu h100 --update       record runs, two or more
  ocrsweep import profile_export_aiperf.json --engine sglang==0.5.23 --gpu h100
  ocrsweep import bench.json --grid 3x2 --gpu h100 --served-as ocr --report out

FILE is what `vllm bench serve --save-result` wrote (with --save-detailed it is judged by its samples too), SGLang's
bench_serving (--output-file) or AIPerf (profile_export_aiperf.json); or `vllm bench throughput`, with --new-tokens.
`vllm bench serve --metadata grid=3x2 gpu=h100 engine_version=0.26.0` puts what these options say into the file.

A run whose requests had fewer input tokens than the page has image tokens is refused: it sent no image. So is one with
failed requests, or of another model. Exit codes: 0 nothing is worse, 1 a metric is worse, 2 a file or an argument is
wrong, or nothing could be judged.
"""


def add(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "import",
        help="other tools' serving figures, gated and reported",
        description="Judge what vllm bench, SGLang's bench_serving or AIPerf measured, by recorded runs.",
        epilog=EXAMPLES,
    )
    text = "a file that one of these tools wrote; several of one point are judged together"
    parser.add_argument("files", metavar="FILE", nargs="+", type=flags.path, help=text)
    pages = parser.add_mutually_exclusive_group()
    pages.add_argument("--grid", metavar="GRID", type=flags.given, help="each page's crop grid, such as 3x2")
    text = "each page's size in pixels, such as 1240x1754"
    pages.add_argument("--page", metavar="WIDTHxHEIGHT", type=flags.given, help=text)
    pages.add_argument("--mix", metavar="NAME", type=flags.given, help="pages of several sizes, by a name of yours")
    text = "the GPU that served: a device of `ocrsweep devices`, the driver's name of another, or cpu"
    parser.add_argument("--gpu", metavar="NAME", type=flags.given, help=text)
    text = "the engine that served, such as vllm==0.26.0 (default: the tool's own)"
    parser.add_argument("--engine", metavar="NAME[==VERSION]", type=flags.given, help=text)
    text = "the server's name for that model, if it is another one"
    parser.add_argument("--served-as", metavar="NAME", type=flags.given, help=text)
    text = "requests in flight, if the file does not have it"
    parser.add_argument("--concurrency", metavar="N", type=flags.whole, help=text)
    text = "tokens of an answer, for `vllm bench throughput`"
    parser.add_argument("--new-tokens", metavar="N", type=flags.whole, help=text)
    text = "the folder of the baselines (default: that of the project)"
    parser.add_argument("--baselines", metavar="DIR", type=flags.path, help=text)
    recording = parser.add_mutually_exclusive_group()
    text = "record these runs beside the recorded ones; one that disagrees moves nothing until three agree"
    recording.add_argument("--update", action="store_true", help=text)
    text = "record these runs in place of the recorded ones of their points"
    recording.add_argument("--accept", action="store_true", help=text)
    text = f"write {JSON} and {PAGE} there"
    parser.add_argument("--report", metavar="DIR", type=flags.path, help=text)
    refused = {
        "batch": "--concurrency says how many requests were in flight",
        "device": "--gpu names the GPU that served",
    }
    flags.add_settings(parser, ("model", "prompt_tokens", "resolution"), refused)
    flags.add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from ..report import serving
    from ..sweep.baseline_folder import of_project

    options.baselines = options.baselines or of_project(Path(), writes=True).path
    settings = flags.compose(options)
    placed, problems = _placed(options, settings)
    if problems:  # nothing is judged or recorded by half
        flags.show(*(f"ocrsweep: {problem}" for problem in problems), file=sys.stderr)
        return USAGE
    found = list(_judged(options.baselines, settings.model.name, placed))
    recorded = _record(options, settings.model.name, placed) if options.update or options.accept else []
    if options.json:
        flags.print_json(serving.as_json(found, recorded))
    else:
        flags.show(*serving.lines(found), *_said(recorded))
    if options.report:
        _write(options.report, found, recorded, quiet=options.json)
    if options.update or options.accept:
        return GREEN
    if not any(point.is_judged for point in found):
        _refuse_unjudged(found)
    return RED if any(point.is_red for point in found) else GREEN


def _refuse_unjudged(found: Sequence[JudgedServing]) -> None:
    """A gate that judges nothing is no green one. Raises ArgumentError."""
    from ..baselines.serving_gate import ServingVerdict

    if all(point.verdict is ServingVerdict.NEW for point in found):
        raise ArgumentError("nothing was judged, as nothing is recorded of these points;", "record runs with --update")
    raise ArgumentError("nothing was judged, as the noise is not known yet;", "record another run with --update")


def _said_of(options: argparse.Namespace, settings: Settings) -> Said:
    """What the options say of all files. Raises ArgumentError."""
    from ..baselines.serving import Pages
    from ..baselines.serving_store import known_engine
    from ..report.imported.placed import Said

    name, equals, version = (options.engine or "").partition("==")
    given = [(kind, getattr(options, kind)) for kind in Pages.KINDS if getattr(options, kind)]
    try:
        pages = Pages(*given[0]) if given else None
        engine = known_engine(name) if options.engine else None
    except ValueError as error:
        raise ArgumentError(f"--{given[0][0] if given and not name else 'engine'}: {error}") from None
    if equals and not version:
        raise ArgumentError(f"--engine: {quoted(options.engine)} names no version: write vllm, or vllm==0.26.0")
    if options.concurrency == 0:
        raise ArgumentError("--concurrency must be at least 1, got 0")
    return Said(
        settings.model.name,
        settings.workload.resolution,
        pages,
        engine,
        version or None,
        import_names.driver_name(options.gpu),
        options.served_as,
        options.concurrency,
    )


def _placed(options: argparse.Namespace, settings: Settings) -> tuple[list[Placed], list[str]]:
    """Every run of the files at its point, and what is wrong with those that cannot be taken."""
    from ..report.imported import files
    from ..report.imported.placed import place

    def tokens(pages: Pages, engine: str) -> int:
        return import_names.image_tokens(pages, engine, options.overrides, settings)

    said = _said_of(options, settings)
    placed, problems = [], []
    for path in dict.fromkeys(options.files):
        try:
            runs = files.read(path, options.new_tokens)
            placed += [place(import_names.by_driver(each), said, tokens) for each in runs]
        except ResultFileError as error:
            problems.append(str(error))
    return placed, problems


def _groups(placed: Sequence[Placed]) -> Mapping[tuple[str, str], list[Placed]]:
    """The runs of each GPU and engine."""
    groups: dict[tuple[str, str], list[Placed]] = {}
    for each in placed:
        groups.setdefault((each.gpu, each.engine), []).append(each)
    return groups


def _judged(folder: Path, model: str, placed: Sequence[Placed]) -> Iterator[JudgedServing]:
    """Every point of the files beside what is recorded. Raises BaselineError."""
    from ..baselines import serving_memory, serving_store
    from ..report.imported.judged import judged

    for (gpu, engine), group in _groups(placed).items():
        stored = serving_store.read(serving_store.file_of(folder, model, gpu, engine), model, gpu, engine)
        yield from judged(model, gpu, engine, group, stored, serving_memory.noise_of(stored))


def _record(options: argparse.Namespace, model: str, placed: Sequence[Placed]) -> list[Recorded]:
    """Records the runs of each GPU and engine. Raises BaselineError, OSError."""
    from ..baselines import serving_store

    done = []
    for (gpu, engine), group in _groups(placed).items():
        path = serving_store.file_of(options.baselines, model, gpu, engine)
        runs = [(each.key, each.run) for each in group]
        done.append(serving_store.record(path, model, gpu, engine, runs, accept=options.accept))
    return done


def _said(recorded: Sequence[Recorded]) -> Iterator[str]:
    for done in recorded:
        kept = f", {done.kept} kept beside what is recorded" if done.kept else ""
        yield f"{done.path}: {done.added} added, {done.changed} changed, {done.same} as before{kept}"
        yield from done.lines


def _write(folder: Path, found: Sequence[JudgedServing], recorded: Sequence[Recorded], *, quiet: bool) -> None:
    """Raises ReportError."""
    from ..report import owned, serving

    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {JSON: json.dumps(serving.as_json(found, recorded), indent=1) + "\n", PAGE: serving.page(found)}
        problems = owned.put(folder, texts)
    except OSError as error:
        what = f"{folder}: no report can be written there ({error.strerror or error}):"
        raise ReportError(what, "give another folder") from None
    if problems:
        raise ReportError("; ".join(problems.values()))
    if not quiet:
        flags.show(f"report in {folder}: {', '.join(texts)}")
