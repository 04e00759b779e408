"""Any server that speaks the OpenAI chat protocol with streaming, timed from outside, as people run vLLM and SGLang."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Self

from ..errors import EngineError
from ..files.text import quoted
from . import chat
from .about import About
from .closed_loop import ClosedLoop
from .endpoint import ConnectionWatch, Endpoint
from .page_images import pages
from .served import Load, Request, ServedLoad, checked, span_ns

LIMIT_S = 300
SHOWN = 5  # of a server's models


class HttpEngine:
    """A server, and the model that it is asked for: its only one, if none is named. Raises EngineError.

    No request may take longer than `limit_s`.
    """

    def __init__(self, url: str, model: str | None = None, *, key: str | None = None, limit_s: float = LIMIT_S) -> None:
        self._endpoint, self._limit_s = Endpoint.parse(url, key), limit_s
        self._salt, self._runs = secrets.randbits(64), count()
        models = self._models()
        self.model = _chosen(self._endpoint, list(models), model)
        self._length = models[self.model].get("max_model_len")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the server alone: it is not ours."""

    def about(self) -> About:
        """What the server says; its version, if it has one at /version, as vLLM does."""
        try:
            version = self._get("/version").get("version")
        except EngineError:
            version = None
        length = self._length if type(self._length) is int else None
        return About("http", version=None if version is None else str(version), model=self.model, max_model_len=length)

    def run(self, load: Load) -> ServedLoad:
        """Serves a load. An error has the requests that were finished before it.

        Its pages are never those of another run, which the server's caches may have.
        """
        bodies = [chat.body(self.model, load, page) for page in pages(load, self._salt, next(self._runs))]
        self._serve(bodies[load.pages :], load.concurrency)
        requests = self._serve(bodies[: load.pages], load.concurrency)
        wall_ns = span_ns(requests)
        return checked(str(self._endpoint), ServedLoad(load, requests, wall_ns))

    def _serve(self, bodies: Sequence[bytes], concurrency: int) -> tuple[Request, ...]:
        calls = [partial(chat.ask, self._endpoint, self.model, body) for body in bodies]
        return ClosedLoop(str(self._endpoint), calls, self._limit_s).run(concurrency)

    def _models(self) -> Mapping[str, Mapping[str, Any]]:
        """The server's models by their names."""
        try:
            return {str(each["id"]): dict(each) for each in self._get("/v1/models")["data"]}
        except (KeyError, TypeError):
            what = f"{self._endpoint}: does not list its models at /v1/models;"
            raise EngineError(what, "give the URL of a server with the OpenAI protocol") from None

    def _get(self, path: str) -> Mapping[str, Any]:
        call: Callable[[ConnectionWatch], Mapping[str, Any]] = partial(chat.get, self._endpoint, path)
        (value,) = ClosedLoop(str(self._endpoint), [call], self._limit_s).run(1)
        return value


def _chosen(endpoint: Endpoint, models: list[str], wanted: str | None) -> str:
    if wanted is not None and wanted in models:
        return wanted
    names = ", ".join(map(quoted, models[:SHOWN])) + (", …" if len(models) > SHOWN else "")
    if not models:
        raise EngineError(f"{endpoint}: serves no model;", "start it with one")
    if wanted is not None:
        raise EngineError(f"{endpoint}: serves {names}, not {quoted(wanted)};", "ask for a model that it serves")
    if len(models) > 1:
        raise EngineError(f"{endpoint}: serves several models, {names};", "name one of them")
    return models[0]
