"""Reads a YAML file of grids and pages as plain text nodes, and refuses tags, aliases and repeated keys."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import yaml

from ..errors import SourceError
from ..files import near_miss, untrusted
from ..files.text import quoted
from ..model.geometry import CropGrid
from .grid_entry import GridEntry

KEYS = ("grid", "image", "label", "analytic_only")
MOST_BYTES = 1 << 17  # about 20,000 grids, read in half a second; a shapes database holds more
MOST_NODES = 25_000  # grids, keys and values: a file of short ones takes longer
BOOLEANS = {"true": True, "false": False}
INT, TEXT, BOOLEAN = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "str", "bool"))


class _PlainLoader(yaml.SafeLoader):
    """Refuses everything that YAML would expand, construct or run, and more than MOST_NODES."""

    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES:,} entries, keys and values: use a shapes database")
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            line = event.start_mark.line + 1
            raise ValueError(f"line {line}: aliases and tags are not read here: write the value out")
        return super().compose_node(parent, index)


def read(path: str, grid_of: Callable[[int, int], CropGrid]) -> list[GridEntry]:
    """The entries of a YAML file as they stand; `grid_of` says how a page of so many pixels is cut.

    Raises SourceError with the file and the entry's number.
    """
    entries = []
    for number, node in enumerate(_nodes(path), 1):
        try:
            entries.append(_entry(node, grid_of))
        except ValueError as error:
            line = node.start_mark.line + 1
            raise SourceError(f"{path!r}, entry {number} (line {line}): {error}") from None
    return entries


def _nodes(path: str) -> list[yaml.Node]:
    root = _root(path)
    if isinstance(root, yaml.MappingNode):
        try:
            root = _fields(root, ("grids",)).get("grids")
        except ValueError as error:
            raise SourceError(f"{path!r}: {error}") from None
    if root is None or root.value in ("", []):
        raise SourceError(f"{path!r} is empty: list at least one grid, for example `- 2x3`")
    if not isinstance(root, yaml.SequenceNode):
        raise SourceError(f"{path!r} must hold a list of grids, for example `- 2x3`, got {_source_text(root)}")
    return list(root.value)


def _root(path: str) -> yaml.Node | None:
    try:
        return yaml.compose(untrusted.read(Path(path), MOST_BYTES).decode("utf-8-sig"), Loader=_PlainLoader)
    except OSError as error:
        raise SourceError(f"{path!r} cannot be read ({error.strerror}): give a readable file") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path!r} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except RecursionError:
        raise SourceError(f"{path!r} is nested too deeply: an entry is a grid or one flat mapping") from None
    except yaml.MarkedYAMLError as error:
        reason = filter(None, (error.context, error.problem))
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SourceError(f"{path!r} is not readable YAML: {line}{' '.join(reason)}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # _PlainLoader's own, or a wrong character or number
        raise SourceError(f"{path!r} is not readable YAML: {' '.join(str(error).split())}") from None


def _entry(node: yaml.Node, cut: Callable[[int, int], CropGrid]) -> GridEntry:
    if isinstance(node, yaml.ScalarNode):
        return GridEntry(CropGrid.parse(node.value))
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"an entry is a grid such as 2x3 or a mapping, got {_source_text(node)}")
    fields = _fields(node, KEYS)
    if ("grid" in fields) == ("image" in fields):
        raise ValueError("give either `grid: ROWSxCOLUMNS` or `image: [WIDTH, HEIGHT]`")
    return GridEntry(
        grid=_grid(fields["grid"]) if "grid" in fields else _grid_of_page(fields["image"], cut),
        label=_label(fields["label"]) if "label" in fields else None,
        analytic_only="analytic_only" in fields and _boolean(fields["analytic_only"]),
    )


def _fields(mapping: yaml.MappingNode, allowed: tuple[str, ...]) -> dict[str, yaml.Node]:
    fields: dict[str, yaml.Node] = {}
    for key, value in mapping.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else _source_text(key)
        if name not in allowed:
            near = near_miss.nearest(name, allowed)
            hint = f"did you mean {near!r}?" if near else f"valid keys: {', '.join(allowed)}"
            raise ValueError(f"unknown key {quoted(name)}: {hint}")
        if name in fields:
            raise ValueError(f"key {name!r} is there twice (line {key.start_mark.line + 1}): keep one")
        fields[name] = value
    return fields


def _grid(node: yaml.Node) -> CropGrid:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"grid must be ROWSxCOLUMNS, for example 2x3, got {_source_text(node)}")
    return CropGrid.parse(node.value)


def _grid_of_page(node: yaml.Node, cut: Callable[[int, int], CropGrid]) -> CropGrid:
    values = node.value if isinstance(node, yaml.SequenceNode) else []
    numbers = [int(v.value) for v in values if v.tag == INT and re.fullmatch("[1-9][0-9]{0,8}", v.value)]
    if len(values) != 2 or len(numbers) != 2:
        raise ValueError(f"image must be [WIDTH, HEIGHT] in whole pixels from 1, got {_source_text(node)}")
    width, height = numbers
    return cut(width, height)


def _label(node: yaml.Node) -> str:
    text: str = node.value if node.tag == TEXT else ""
    if not text.strip() or not text.isprintable():
        raise ValueError(f"label must be one line of text, in quotes if need be, got {_source_text(node)}")
    return text


def _boolean(node: yaml.Node) -> bool:
    if node.tag != BOOLEAN or node.value not in BOOLEANS:
        raise ValueError(f"analytic_only must be true or false, got {_source_text(node)}")
    return BOOLEANS[node.value]


def _source_text(node: yaml.Node) -> str:
    """The node as the file has it, quoted on one short line."""
    start, end = node.start_mark, node.end_mark
    text = " ".join((start.buffer or "")[start.pointer : end.pointer].split())
    return repr(textwrap.shorten(text, 40, placeholder="…"))
