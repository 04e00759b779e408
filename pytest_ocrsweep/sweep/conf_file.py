"""A file of `conf/`, read as Hydra would read it, whose loading takes longer."""

from __future__ import annotations

import re
from pathlib import Path

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads a number such as 67e12, which YAML 1.2 has and PyYAML takes for text."""


_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def read(file: Path) -> dict[str, object]:
    """What the file holds."""
    return dict(_Loader(file.read_text(encoding="utf-8")).get_single_data())
