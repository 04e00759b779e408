"""The only module that knows Hydra: it composes `conf/` under overrides into frozen settings."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import ConfigError, ConfigFileError
from ..files.text import printable, quoted
from ..hardware.devices import Device
from . import own_device
from .rules import validate
from .search_path import CONF, GROUPS, Stamp, choices, ours, searched, shown, stamp, theirs
from .settings import Settings, check_choice, option_keys, read, unknown_option

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

NEW_NAME = "give them another name: precision.name=mine"
NAMED_BY_FILE = (
    "model",
    "engine",
    "precision",
)  # groups whose files have the name that chooses them; devices do not
MOST_SHOWN = 80  # characters of an override that cannot be read

_OURS = threading.Lock()  # Hydra's state belongs to the process: one thread of ours at a time replaces it


def compose(overrides: Iterable[str] = ()) -> Settings:
    """The settings under Hydra overrides (`KEY=VALUE`); a process composes the same overrides once.

    Raises ConfigError, in one line, for an override that does not fit.
    """
    return _compose(tuple(overrides), stamp(searched()))


@cache
def _compose(overrides: tuple[str, ...], _: Stamp) -> Settings:
    files = _chosen_files(overrides)
    if files is not None:
        settings = _tiled(read(Settings, _loaded_groups(files)))
        validate(settings)
        return settings
    _check_overrides(overrides)
    for group, name in _chosen(overrides).items():
        if file := theirs(group).get(name):
            _of_file(group, file)
    settings = _tiled(read(Settings, _composed(overrides)))
    _rules_of_the_name(overrides, settings)
    validate(settings)
    return replace(settings, device=_device(settings.device))


def _tiled(settings: Settings) -> Settings:
    """The settings with a workload that the model's own processor cuts."""
    tiling, workload = settings.model.tiling, settings.workload
    return replace(settings, workload=replace(workload, tiling=tiling, resolution=tiling.own(workload.resolution)))


def _rules_of_the_name(overrides: tuple[str, ...], settings: Settings) -> None:
    """Raises ConfigError for a precision with the name of a file and other rules: it would be recorded as that."""
    changed = [text for text in overrides if text.startswith(("precision.weights=", "precision.products="))]
    named = [text for text in overrides if text.startswith("precision.name=")]
    if (changed or named) and settings.precision.name in choices("precision"):
        raise ConfigError(f"{quoted((changed or named)[0])}: {settings.precision.name} has rules of its own;", NEW_NAME)


# Beside what a file of a group is read, where not every engine takes it.
LENIENT = {"precision": ("engine=vllm", "engine.precisions=[any]")}


def _of_file(group: str, file: Path) -> Settings:
    """The settings with one file of the project. Raises ConfigFileError if it does not fit by itself."""
    try:
        settings = _tiled(read(Settings, _composed((f"{group}={file.stem}", *LENIENT.get(group, ())))))
        validate(settings)
    except ConfigError as error:
        raise ConfigFileError(f"{shown(file)}: {error.message}", error.hint) from None
    if group in NAMED_BY_FILE and (name := getattr(settings, group).name) != file.stem:
        what = f"{shown(file)}: its name is {quoted(name)}, and its file's is what its baselines are recorded under:"
        raise ConfigFileError(what, f"write name: {file.stem}")
    return settings


def _device(device: Device) -> Device:
    return own_device.named(own_device.beside_its_file(device), device_of(device.name))


def devices() -> dict[str, Device]:
    """Every device that `device=NAME` can choose, by that name. Raises ConfigError for a file that does not fit."""
    return _devices(stamp(searched()))


@cache
def _devices(_: Stamp) -> dict[str, Device]:
    from . import conf_file

    found = {name: read(Device, conf_file.read(file), "device") for name, file in ours("device").items()}
    for name, file in theirs("device").items():
        device = own_device.beside_its_file(_of_file("device", file).device)
        if same := next((other for other, each in found.items() if each.name == device.name), None):
            what = f"{shown(file)}: the device {same} has the name {quoted(device.name)} too:"
            raise ConfigFileError(what, "write another name, or change figures with --set device.FIGURE=VALUE")
        found[name] = device
    return found


def device_of(gpu: str | None) -> Device | None:
    """The device that its driver calls `gpu`; None if the catalogue does not have it. Raises ConfigError."""
    return next((device for device in devices().values() if device.name == gpu), None)


# Overrides that only choose files: loading Hydra would take longer than all that comes after.


def _chosen_files(overrides: tuple[str, ...]) -> dict[str, Path] | None:
    """The file that overrides choose for each group; None if an override does anything else, or is wrong."""
    files = {group: CONF / group / f"{name}.yaml" for group, name in _chosen(overrides).items()}
    return files if len(files) == len(overrides) and all(map(os.path.isfile, files.values())) else None


def _chosen(overrides: tuple[str, ...]) -> dict[str, str]:
    """The names that overrides choose, by group; other overrides are passed over."""
    matches = [match for text in overrides if (match := re.fullmatch(r"(\w+)=([\w-]+)", text))]
    return {match[1]: match[2] for match in matches}


def _loaded_groups(files: dict[str, Path]) -> dict[str, object]:
    """What Hydra composes from these files, and from the default of every other group."""
    from . import conf_file

    composed = conf_file.read(CONF / "config.yaml")
    defaults = cast("list[str | dict[str, str]]", composed.pop("defaults"))
    chosen = {group: name for entry in defaults if isinstance(entry, dict) for group, name in entry.items()}
    groups = [group for group in chosen if not group.startswith("override ")]
    read_from = {group: files.get(group, CONF / group / f"{chosen[group]}.yaml") for group in groups}
    return {group: conf_file.read(file) for group, file in read_from.items()} | composed


# Any other override: Hydra composes.


def _composed(overrides: tuple[str, ...]) -> dict[str, object]:
    """What Hydra composes. Raises ConfigError."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    with _OURS, _users_hydra_set_aside(), warnings.catch_warnings():
        # Without a version_base Hydra 1.3 warns, with one 1.4 does, and 1.5 takes none. All compose the same here.
        warnings.simplefilter("ignore")
        initialize_config_dir(str(CONF), job_name="ocrsweep")
        try:
            return cast("dict[str, object]", OmegaConf.to_container(compose("config", [*_search_path(), *overrides])))
        # The others are of a project's file: one that is not YAML, not UTF-8, not a mapping, or nested hundreds deep.
        except (HydraException, YAMLError, OmegaConfBaseException, OSError, ValueError, RecursionError) as error:
            if absent := re.match(r"Could not override '([\w.]+)'", str(error)):
                raise ConfigError(f"{absent[1]} is of another model than the one chosen; leave it out") from None
            raise ConfigError(f"Hydra cannot compose {quoted(' '.join(overrides))}: {_one_line(error)}") from None


def _search_path() -> list[str]:
    """The override with which Hydra searches the project's folder too, after the package's, as `--config-dir` does."""
    folder = searched()
    if folder is None:
        return []
    path = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return [f"hydra.searchpath=['file://{path}']"]


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))


@contextmanager
def _users_hydra_set_aside() -> Iterator[None]:
    """Hydra is not initialised in the block. After it, the user's own Hydra is there again: the same objects.

    `get_state` only copies. Were the copies put back, whoever holds the ConfigStore or the GlobalHydra of before would
    hold one that Hydra no longer reads. So the block works on the copies, and the originals return.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton

    plugins = Plugins.instance()  # first, because it fills other singletons when it is made
    state = Singleton.get_state()
    state["instances"][Plugins] = plugins  # get_state leaves it out, and finding all plugins again takes 40 ms
    originals = {kind: kind() for kind in state["instances"]}  # to call a singleton's class makes no second instance
    Singleton.set_state(state)
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        Singleton.set_state({**state, "instances": originals})


def _check_overrides(overrides: tuple[str, ...]) -> None:
    """Raises ConfigError before Hydra composes, because Hydra's own errors are pages long."""
    groups = {group: [*sorted(ours(group)), *theirs(group)] for group in GROUPS}
    options = [*groups, *option_keys()]
    chosen: dict[str, str] = {}
    for text in overrides:
        override = _parsed(text)
        key, value = override.key_or_group, override.value()
        _check_override(text, override, options)
        if key in groups:
            check_choice(key, value, groups[key])
            if chosen.setdefault(key, str(value)) != value:
                raise ConfigError(f"{key} is chosen twice: {quoted(chosen[key])} and {quoted(value)}; keep one")


def _parsed(text: str) -> Override:
    # Hydra's own example of a sweeper plugin parses with this class: it is meant to be imported.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if text.startswith(("+", "~")) or "@" in text.partition("=")[0]:
        raise ConfigError(f"{quoted(text)}: options can be changed, not added, removed or moved; write KEY=VALUE")
    if "=" not in text:
        raise ConfigError(f"{quoted(text)} is not KEY=VALUE, for example workload.batch=4")
    try:
        return OverridesParser.create().parse_override(text)
    # ValueError: more digits than Python reads; RecursionError: brackets in brackets, hundreds deep.
    except (HydraException, ValueError, RecursionError) as error:
        cut = text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"
        raise ConfigError(f"{cut!r} cannot be read ({_one_line(error)}); quote the value?") from None


def _check_override(text: str, override: Override, options: list[str]) -> None:
    key, value = override.key_or_group, override.value()
    if key == "grids":  # an option of 0.1.0
        raise ConfigError("no option 'grids'; --ocrsweep-grids (of ocrsweep: --grids) chooses what to sweep")
    if key not in options:
        raise unknown_option(key, options)
    if override.is_sweep_override():
        raise ConfigError(f"{key} takes one value: quote it if it has commas, got {quoted(text)}")
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise ConfigError(f"{key} takes the value itself, not an interpolation or a blank: got {quoted(text)}")
