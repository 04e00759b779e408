"""vLLM in an interpreter of its own: started, asked, and ended with all that it started, whatever happens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from ..errors import EngineError, EngineLost
from ..files import text
from ..files.text import printable, quoted
from . import answers
from .about import About, StartOptions
from .child import KILLED, Child
from .page_images import pages
from .served import Load, ServedLoad, checked

RUNNER = Path(__file__).with_name("runner_vllm")
PROTOCOL = 2
PASSED = ("warmup", "concurrency", "new_tokens", "prompt", "slowdown_percent")  # of a load, to the runner
OPTION = "engine.python"
GIVE = "give the path of a Python interpreter, 3.10 or later, that has vLLM"
MALFORMED = "try another version of the engine, and report this with its version and ours"
HINTS = {
    "refused": "ask for less, or start the engine with greater limits",
    "version": "install a later one there: {pip} --upgrade vllm",
    "memory": "start it with a lower max_num_seqs or max_model_len, or free memory and raise gpu_memory_utilization",
    "engine": "look into its whole log: python -m pytest_ocrsweep.engines --log FILE keeps it",
}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Runner:
    """Which interpreter runs what, with which variables beside ours, how long it may take, and where its log goes."""

    python: str
    script: Path = RUNNER
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    hello_s: float = 60
    start_s: float = 1200
    answer_s: float = 1800

    def __str__(self) -> str:
        return f"{OPTION}={printable(self.python)}"

    def hint(self, kind: str) -> str:
        return HINTS.get(kind, HINTS["engine"]).format(pip=text.command(self.python, "-m", "pip", "install"))


class EngineProcess:
    """Use it in a `with` statement, or call `close`. After EngineLost it is closed; after EngineError it goes on."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._started_s: float | None = None
        try:
            self._child = Child([runner.python, str(runner.script)], runner.environment, runner.log)
        except (OSError, ValueError) as error:  # ValueError: a null byte
            if isinstance(error, OSError) and runner.log and str(error.filename) == str(runner.log):
                what = f"{printable(str(runner.log))}: the log cannot be written ({text.text_of(error)});"
                raise EngineLost(what, "name another file") from None
            raise EngineLost(f"{runner}: cannot be started ({text.text_of(error)});", GIVE) from None
        self._whole(self._hello)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine and everything that it started; any number of times."""
        self._child.end()

    def start(self, options: StartOptions) -> None:
        """Loads the model. Raises EngineLost."""
        self._whole(partial(_check_folder, options.model))
        given = asdict(options)
        folder = given.pop("model").absolute()
        limit_s = self._runner.start_s
        self._started_s = self._ask("start", {**given, "model_folder": str(folder)}, limit_s, answers.started_s)

    def about(self) -> About:
        return self._ask("about", {}, self._runner.answer_s, answers.about)

    def run(self, load: Load) -> ServedLoad:
        """Serves a load. Its pages wait rendered: the time to a first token is without that."""
        given = {name: getattr(load, name) for name in PASSED}
        given["pages"] = [base64.b64encode(page).decode() for page in pages(load)]
        served = self._ask("run", given, self._runner.answer_s, lambda value: answers.served(value, load))
        return checked(str(self._runner), replace(served, started_s=self._started_s))

    def _ask(
        self, name: str, arguments: Mapping[str, object], limit_s: float, read: Callable[[object], Value]
    ) -> Value:
        """What `read` makes of the answer to a command."""
        return self._whole(lambda: self._answer(name, arguments, limit_s, read))

    def _whole(self, talk: Callable[[], Value]) -> Value:
        """Closes the engine when a talk breaks off: what it says later would be an answer to another question."""
        try:
            return talk()
        except EngineLost:
            self.close()
            raise
        except EngineError:
            raise
        except BaseException:
            self.close()
            raise

    def _answer(
        self, name: str, arguments: Mapping[str, object], limit_s: float, read: Callable[[object], Value]
    ) -> Value:
        if not self._child.end.alive:
            raise EngineLost(f"{self._runner}: is closed;", "start another")
        self._child.say(json.dumps({"command": name, **arguments}).encode())
        line = self._line(f"to answer {name!r}", limit_s)
        if not line:
            how = self._child.how_it_ended()
            hint = self._runner.hint("memory" if how == KILLED else "engine")
            raise EngineLost(f"{self._runner}: died in {name!r}: {how};", hint)
        try:
            row = answers.row(line)
            if "failed" not in row:
                return read(row["done"])
            failure = answers.failure(row["failed"])
        except answers.Malformed as wrong:
            raise EngineLost(f"{self._runner}: answered {name!r} with {wrong};", MALFORMED) from None
        except (KeyError, ValueError):
            what = f"{self._runner}: answered {name!r} with {_shown(line)};"
            raise EngineLost(what, "see that nothing else writes to its stdout") from None
        raise self._failed(name, failure)

    def _failed(self, name: str, failure: answers.Failure) -> EngineError:
        kind = EngineError if failure.kind == "refused" else EngineLost
        how = "ran out of memory in" if failure.kind == "memory" else "failed in"
        what = f"{self._runner}: {how} {name!r}: {printable(failure.line, 400)};"
        return kind(what, self._runner.hint(failure.kind))

    def _hello(self) -> None:
        """Reads the first line, which says that the interpreter runs our script and has vLLM."""
        line = self._line("to run our script", self._runner.hello_s)
        row = _row(line)
        if "protocol" not in row:
            why = f"it printed {_shown(line)}" if line else self._child.how_it_ended()
            raise EngineLost(f"{self._runner}: is no Python that runs our script: {why};", GIVE)
        if row["protocol"] != PROTOCOL:
            what = f"{self._runner}: its script has protocol {quoted(row['protocol'])}, and this needs {PROTOCOL};"
            raise EngineLost(what, "two versions of this project are mixed: install it again")
        if row.get("version") is None:
            install = text.command(self._runner.python, "-m", "pip", "install", "vllm")
            raise EngineLost(f"{self._runner}: has no vLLM (PYTHONPATH is not passed on to it);", install)

    def _line(self, what: str, limit_s: float) -> bytes:
        try:
            return self._child.hear(limit_s)
        except TimeoutError:
            why = f"{self._runner}: took more than {limit_s:g} s {what}, {self._child.last_words()};"
            raise EngineLost(why, "give it more time, or ask for less") from None


def _check_folder(model: Path) -> None:
    """The engine would look for it on the network, and say nothing of a folder. Raises EngineLost."""
    if not (model / "config.json").is_file():
        raise EngineLost(f"model {quoted(str(model))}: has no config.json;", "give the folder of a model")


def _row(line: bytes) -> Mapping[str, Any]:
    try:
        return answers.row(line)
    except ValueError:
        return {}


def _shown(line: bytes) -> str:
    return quoted(printable(line[:200].decode(errors="replace").strip(), 80))
