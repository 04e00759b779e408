"""Of which point a tool's run is: its pages, engine and GPU by what the user says, and proof that images were sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...baselines.serving import Pages, Provenance, ServingKey, ServingRun
from ...baselines.serving_metrics import Figure
from ...baselines.serving_store import known_engine
from ...baselines.timed import gpu_folder
from ...errors import OcrsweepError, ResultFileError
from ...files.text import quoted
from .tool_run import ToolRun

LONG_PROMPT = 1.0
"""A text with more tokens than its page, as a ratio, may be another page: the output says so."""

FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Said:
    """What the command line says of all files. What it leaves open, a file may say (`ToolRun.written`)."""

    model: str
    resolution: str = "gundam"
    pages: Pages | None = None
    engine: str | None = None
    engine_version: str | None = None
    gpu: str | None = None
    served_as: str | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A run and the point that it is of; `notes` are what a person should know of it."""

    where: str
    gpu: str  # a gpu_folder
    engine: str
    key: ServingKey
    run: ServingRun
    notes: tuple[str, ...] = ()


def place(run: ToolRun, said: Said, image_tokens: Callable[[Pages, str], int]) -> Placed:
    """The run at its point. Raises ResultFileError for a run that is of none, or that sent no image.

    `image_tokens` gives those of a page on an engine, or the fewest that a mix can have.
    """
    _check_model(run, said)
    pages = _pages(run, said)
    try:
        engine, version = _engine(run, said)
        tokens = image_tokens(pages, engine)
        prompt = _prompt_tokens(run, pages, tokens)
        key = ServingKey(
            pages,
            _concurrency(run, said),
            prompt,
            round(run.output_tokens),
            said.resolution,
            run.request_rate,
            encoder_graphs_of(run),
        )
        gpu = said.gpu or run.written.get("gpu") or run.gpu
        if gpu is None:
            raise ResultFileError(
                "it does not name its GPU;", "give --gpu h100 or another name of `ocrsweep devices`, or cpu"
            )
        provenance = Provenance(
            run.tool, run.tool_version, version, run.model, run.host or run.written.get("host"), gpu
        )
        measured = ServingRun(_rates(run.metrics, run.images or 1.0), run.requests, provenance, run.date)
        return Placed(run.where, gpu_folder(gpu), engine, key, measured, (*run.notes, *_odd(prompt, tokens, pages)))
    except OcrsweepError as error:
        raise ResultFileError(f"{run.where}: {error.message}", error.hint) from None
    except ValueError as error:
        raise ResultFileError(f"{run.where}: {error}") from None


def same_model(ours: str, theirs: str) -> bool:
    """Whether a server's name of a model is ours: deepseek-ai/DeepSeek-OCR, or the path of a snapshot."""
    return theirs.replace("\\", "/").rstrip("/").rpartition("/")[2].lower() == ours.lower()


def _check_model(run: ToolRun, said: Said) -> None:
    name = said.served_as or run.written.get("served_as")
    if run.model is None and name is None:
        what = f"{run.where}: it does not name the model that was served;"
        raise ResultFileError(what, f"give --served-as NAME, the name by which the server has {said.model}")
    if run.model is not None and not (run.model == name if name else same_model(said.model, run.model)):
        wanted = f"{said.model}, served as {quoted(name)}" if name else said.model
        what = f"{run.where}: it is of the model {quoted(run.model)}, not of {wanted};"
        raise ResultFileError(what, f"if that is the server's name of {said.model}: --served-as {run.model}")


def _pages(run: ToolRun, said: Said) -> Pages:
    """What was served, by the command line, by what the user wrote into the file, or by the tool itself."""
    written = [(kind, run.written[kind]) for kind in Pages.KINDS if kind in run.written]
    try:
        found = said.pages or (Pages(*written[0]) if written else Pages("page", run.page) if run.page else None)
    except ValueError as error:
        raise ResultFileError(f"{run.where}: {error}") from None
    if found is None:
        what = (
            f"{run.where}: it does not say which page was sent, so its {run.input_tokens:,.0f} input tokens a request"
        )
        raise ResultFileError(f"{what} may be a page's or a text's;", "give --grid 3x2, or --page 1240x1754 in pixels")
    if said.pages and run.page and said.pages.kind == "page" and said.pages != Pages("page", run.page):
        raise ResultFileError(f"{run.where}: its pages have {run.page} pixels, not {said.pages.name}")
    return found


def _prompt_tokens(run: ToolRun, pages: Pages, tokens: int) -> int:
    """The text's tokens: a request's without its image tokens. Raises ResultFileError if it has fewer than those."""
    images = 1.0 if run.images is None else run.images
    wanted = tokens * images
    if images <= 0 or run.input_tokens < wanted:
        fewer = f"its requests had {run.input_tokens:,.1f} input tokens, fewer than the {wanted:,.0f} image tokens of"
        of = f"{'the smallest page of ' if pages.kind == 'mix' else ''}{pages}"
        raise ResultFileError(f"{fewer} {of}: {run.counted_by}")
    return round(run.input_tokens - wanted)


def _engine(run: ToolRun, said: Said) -> tuple[str, str | None]:
    """Its name and version. Raises ResultFileError if nobody names it, ValueError for a name that no file can have."""
    name = said.engine or run.written.get("engine") or run.engine
    if name is None:
        raise ResultFileError("it does not name the engine that served it;", "give --engine vllm==0.32.0, or sglang")
    version = said.engine_version or run.written.get("engine_version") or run.engine_version
    return known_engine(name), version


def _concurrency(run: ToolRun, said: Said) -> int | None:
    """Requests in flight. Raises ValueError if the file has another number than the command line."""
    if said.concurrency and run.concurrency and said.concurrency != run.concurrency:
        raise ValueError(f"its concurrency is {run.concurrency}, not {said.concurrency} as --concurrency says")
    return said.concurrency or run.concurrency


def encoder_graphs_of(run: ToolRun) -> bool | None:
    """Whether the vision tower ran as graphs; None if nobody says it. Raises ValueError for another word."""
    text = run.written.get("encoder_graphs")
    if text is not None and text.lower() not in FLAGS:
        raise ValueError(f"encoder_graphs must be true or false, got {quoted(text)}")
    return None if text is None else FLAGS[text.lower()]


def _rates(metrics: Mapping[str, Figure], images: float) -> Mapping[str, Figure]:
    """With pages per second beside requests per second, if a request holds another number of pages than one."""
    if images == 1 or "pages_per_s" not in metrics:
        return metrics
    requests = metrics["pages_per_s"]
    return {**metrics, "requests_per_s": requests, "pages_per_s": Figure(requests.value * images)}


def _odd(prompt: int, tokens: int, pages: Pages) -> list[str]:
    if pages.kind == "mix" or prompt <= LONG_PROMPT * tokens:
        return []
    return [f"its text has {prompt:,} tokens, more than the {tokens:,} of {pages}: is that the page that was sent?"]
