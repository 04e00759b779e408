"""Tensors of parameters, by which a kernel says what it reads of a checkpoint."""

from __future__ import annotations

from typing import NamedTuple


class Parameter(NamedTuple):
    """`tensors` of parameters, each of [rows, columns] elements; the elements of a row lie side by side."""

    kind: str  # of KINDS
    rows: int
    columns: int
    tensors: int = 1

    @property
    def elements(self) -> int:
        return self.tensors * self.rows * self.columns


KINDS = ("matrix", "experts", "embedding", "convolution", "table", "vector")
Parameters = tuple[Parameter, ...]


def vectors(width: int, tensors: int = 1) -> Parameters:
    """Parameters of one dimension: a norm's weight, a bias, a token."""
    return (Parameter("vector", 1, width, tensors),)
