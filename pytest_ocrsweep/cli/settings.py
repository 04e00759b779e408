"""Settings as options: `--set KEY=VALUE`, and a plain option for each setting that a page's cost turns on."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, NoReturn

from ..errors import ArgumentError
from ..model.geometry import LEAST, RESOLUTIONS
from ..model.native_resolution import NATIVE
from .types import given, whole


class Plain(NamedTuple):
    """An option that is `--set KEY=VALUE` by another name."""

    key: str
    metavar: str
    kind: Callable[[str], object]
    about: str
    choices: Collection[str] | None = None


def _least(name: str) -> Callable[[str], int]:
    return lambda text: whole(text, LEAST[name])


PLAIN = {
    "model": Plain("model", "NAME", given, "the model (default: deepseek-ocr)"),
    "engine": Plain("engine", "NAME", given, "what runs it: transformers, vllm or original (default: transformers)"),
    "device": Plain("device", "NAME", given, "the device for floors; see `ocrsweep devices` (default: h200)"),
    "batch": Plain("workload.batch", "N", _least("batch"), "pages at once (default: 1)"),
    "prompt_tokens": Plain(
        "workload.prompt_tokens", "N", _least("prompt_tokens"), "tokens of text with a page (default: 10)"
    ),
    "new_tokens": Plain("workload.new_tokens", "N", _least("new_tokens"), "tokens to decode (default: 100)"),
    "resolution": Plain(
        "workload.resolution", "MODE", given, f"{', '.join(RESOLUTIONS)} (default: gundam)", (*RESOLUTIONS, NATIVE)
    ),
}
ALL = tuple(PLAIN)
OF_A_PAGE = tuple(name for name in ALL if name != "device")


def add(parser: argparse.ArgumentParser, names: Sequence[str], refused: Mapping[str, str] | None = None) -> None:
    """Adds `--set`, and the plain options of these names; those in `refused` end in a line that says why."""
    group = parser.add_argument_group("settings")
    for name in names:
        plain = PLAIN[name]
        group.add_argument(
            option(name), metavar=plain.metavar, type=plain.kind, choices=plain.choices, help=plain.about
        )
    refuse(parser, refused or {})
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="change any setting, such as a figure of model. or device.; the error for a wrong key names the nearest; "
        "repeatable",
    )
    parser.set_defaults(plain=tuple(names))


def refuse(parser: argparse.ArgumentParser, names: Mapping[str, str]) -> None:
    """Has plain options of other subcommands end in a line that says why they mean nothing in this one."""
    for name, why in names.items():
        parser.add_argument(option(name), action=Refused, help=argparse.SUPPRESS, const=why)


def option(name: str) -> str:
    """As it is typed: `--new-tokens`."""
    return f"--{name.replace('_', '-')}"


class Refused(argparse.Action):
    """An option that means nothing here; `const` says why."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error(f"{self.option_strings[0]} does not belong here: {self.const}")


def apply(options: argparse.Namespace) -> None:
    """Adds what plain options say to `overrides`. Raises ArgumentError for one that `--set` contradicts."""
    for name in reversed(getattr(options, "plain", ())):
        if (value := getattr(options, name)) is not None:
            override(options, name, value)


def override(options: argparse.Namespace, name: str, value: object) -> None:
    """Adds one plain option to `overrides`. Raises ArgumentError if `--set` contradicts it."""
    key, text = PLAIN[name].key, spelled(str(value)) if name == "device" else str(value)
    others = [each for each in options.overrides if each.partition("=")[0] == key]
    for each in others:
        if each.partition("=")[2] != text:
            raise ArgumentError(f"{option(name)} {value} and --set {each} contradict each other: keep one")
    if not others:
        options.overrides = [f"{key}={text}", *options.overrides]


def spelled(name: str) -> str:
    """A device's name as the catalogue spells it: rtx-4090 for rtx4090 and RTX_4090. Unknown names do not change."""
    from ..sweep.search_path import choices

    def bare(text: str) -> str:
        return re.sub(r"[-_ ]", "", text.lower())

    return {bare(each): each for each in choices("device")}.get(bare(name), name)
