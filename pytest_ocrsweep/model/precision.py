"""Precisions: how a checkpoint stores each parameter, the bytes that kernels read of it, and what they multiply.

A precision is a list of rules: the first that fits a tensor says its format. Products run in two bytes, and a kernel
widens the weights as it reads them; or lines with 8-bit weights multiply 8-bit floats. Sources stand in conf/precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

from ..errors import ConfigError
from .kernels import HALF, Kernel, Kernels, Turns, together
from .parameters import KINDS, Parameter
from .symbolic import Poly, Size

NATIVE_NAME, HALF_NAME, FP8_NAME = "native", "half", "fp8"
PRODUCTS = (HALF_NAME, FP8_NAME)
MORE = "+"  # "q4_k+q6_k": the second in the layers to which llama.cpp gives more bits


@dataclass(frozen=True, slots=True)
class Format:
    """How the elements of a tensor [rows, columns] are stored, in bits."""

    element_bits: int = 0
    group: int = 1  # columns that share a group's bits
    group_bits: int = 0
    column_bits: int = 0
    tensor_bits: int = 0
    otherwise: str | None = None  # the format of a tensor whose columns are not whole groups; None: a group may be cut

    def fits(self, columns: int) -> bool:
        return self.otherwise is None or columns % self.group == 0

    def stored_bytes(self, of: Parameter) -> int:
        """Bytes of all its tensors, each of which begins at a whole byte."""
        groups = of.rows * -(-of.columns // self.group)
        bits = (
            of.rows * of.columns * self.element_bits
            + groups * self.group_bits
            + of.columns * self.column_bits
            + self.tensor_bits
        )
        return of.tensors * -(-bits // 8)


FORMATS = {
    "half": Format(element_bits=16),
    "f32": Format(element_bits=32),
    # llama.cpp, ggml/src/ggml-common.h: a block holds its elements and their scales.
    "q8_0": Format(group=32, group_bits=8 * 34, otherwise="half"),
    "q5_0": Format(group=32, group_bits=8 * 22, otherwise="half"),
    "q4_k": Format(group=256, group_bits=8 * 144, otherwise="q5_0"),
    "q6_k": Format(group=256, group_bits=8 * 210, otherwise="q8_0"),
    # MLX, affine: a scale and a bias in two bytes each for a group.
    "mlx8": Format(element_bits=8, group=64, group_bits=32, otherwise="half"),
    "mlx4": Format(element_bits=4, group=64, group_bits=32, otherwise="half"),
    # GPTQ: for a group and an output a scale in two bytes and a zero; for an input the group that it belongs to.
    "gptq4": Format(element_bits=4, group=128, group_bits=16 + 4, column_bits=32),
    "gptq8": Format(element_bits=8, group=128, group_bits=16 + 8, column_bits=32),
    "fp8": Format(element_bits=8, tensor_bits=32),  # and a scale
}


@dataclass(frozen=True, slots=True)
class Precision:
    """The formats of a checkpoint. To add one, add a file to conf/precision."""

    name: str
    weights: tuple[str, ...]  # rules "PATTERN FORMAT"; a pattern is of "path:kind", and the first that fits counts
    products: str = HALF_NAME  # of PRODUCTS: what lines with weights in fp8 multiply

    @property
    def is_native(self) -> bool:
        """Whether every parameter has two bytes, as the reference model's."""
        return self.name == NATIVE_NAME

    @property
    def fp8_products(self) -> bool:
        """Whether every line with weights in fp8 multiplies 8-bit floats; else it widens its weights to two bytes."""
        return self.products == FP8_NAME

    def format_of(self, path: str, kind: str, columns: int, more: bool) -> Format:
        """The format of a tensor on the line `path`; `more`: in a layer to which llama.cpp gives more bits."""
        names = next(rule.split()[1] for rule in self.weights if fnmatchcase(f"{path}:{kind}", rule.split()[0]))
        plain, _, richer = names.partition(MORE)
        found = FORMATS[richer if richer and more else plain]
        while not found.fits(columns):
            found = FORMATS[str(found.otherwise)]
        return found


NATIVE = Precision(NATIVE_NAME, ("* half",))


def wrong_rule(rule: str) -> str | None:
    """What is wrong with a rule; None if nothing is."""
    words = rule.split()
    if len(words) != 2:
        return "it must be PATTERN FORMAT"
    kind = words[0].rpartition(":")[2]
    if ":" in words[0] and not any(fnmatchcase(each, kind) for each in KINDS):
        return f"a kind is one of {', '.join(KINDS)}"
    unknown = [name for name in words[1].split(MORE) if name not in FORMATS]
    return f"a format is one of {', '.join(FORMATS)}" if unknown or words[1].count(MORE) > 1 else None


def stored(kernels: Iterable[Kernel], precision: Precision, layers: int, dense_layers: int) -> Kernels:
    """The kernels with parameters as `precision` stores them, of a decoder with so many layers.

    Layers that store a tensor in different formats are different kernels of one path. Raises ConfigError for a line
    whose weights have another precision than its products.
    """
    if precision.is_native:
        yield from kernels
        return
    seen: dict[str, int] = {}  # runs of a path so far
    for k in kernels:
        if not k.parameters:
            yield k
            continue
        if precision.fp8_products:
            _check_products(k, precision)
        first = seen.get(k.path, 0) + (dense_layers if "expert" in k.path else 0)
        seen[k.path] = seen.get(k.path, 0) + k.times
        turns: dict[Fraction, list[int]] = {}
        for run in range(k.times):
            more = k.path.startswith("decoder/") and more_bits(first + run, layers)
            turns.setdefault(ratio(k, precision, more), []).append(run)
        for i, (by, runs) in enumerate(turns.items()):
            yield _narrowed(k if len(turns) == 1 else _part(k, runs, first=i == 0), by)


def _check_products(k: Kernel, precision: Precision) -> None:
    """Raises ConfigError unless all weights of a product of 8-bit floats are such, and no others are."""
    formats = {precision.format_of(k.path, each.kind, each.columns, False) for each in k.parameters}
    if formats != {FORMATS[FP8_NAME]} if k.fp8 else FORMATS[FP8_NAME] in formats:
        what = "needs weights in fp8" if k.fp8 else "has weights in fp8, and nobody has counted its products in 8 bits"
        raise ConfigError(f"{k.path} {what}: change precision.weights, or set precision.products={HALF_NAME}")


def more_bits(layer: int, layers: int) -> bool:
    """Whether llama.cpp gives this layer's values and down projections more bits (src/llama-quant.cpp)."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer >= eighth and (layer - eighth) % 3 == 2)


def ratio(k: Kernel, precision: Precision, more: bool = False) -> Fraction:
    """Stored bytes of a kernel's parameters, for each byte of two-byte ones."""
    formats = [(precision.format_of(k.path, each.kind, each.columns, more), each) for each in k.parameters]
    native = sum(each.elements for each in k.parameters) * HALF
    return Fraction(sum(one.stored_bytes(each) for one, each in formats), native)


def _part(k: Kernel, runs: list[int], *, first: bool) -> Kernel:
    """These runs of a repeated kernel; what is counted for all runs, and its memory, stay with the first part."""
    turns, *outer = k.loops
    among = list(turns)
    part = k._replace(times=len(runs), loops=(Turns(turns.loop, tuple(among[run] for run in runs)), *outer))
    return part if first else part._replace(allocates=0, frees=0, unneeded=0, unneeded_bytes=0, functions=0)


def _narrowed(k: Kernel, by: Fraction) -> Kernel:
    """The kernel with `by` times as many bytes of parameters."""
    operands = k.operands
    read = k.read_bytes - together(operands)
    if k.parameters[0].kind == "embedding":  # the rows that it looks up are its last operand
        operands = (*operands[:-1], _times(operands[-1], by))
    else:
        read = _times(read, by)
    return k._replace(
        read_bytes=together(operands) + read,
        operands=operands,
        weight_bytes=_times(k.weight_bytes, by),
        used_bytes=_times(k.used_bytes, by),
        least_bytes=None if k.least_bytes is None else _times(k.least_bytes, by),
    )


def _times(size: Size, by: Fraction) -> Size:
    """`by` times `size`; a part of a byte, as of a scale that rows share, is one."""
    if isinstance(size, int):
        return _whole(size * by)
    return Poly({monomial: _whole(c * by) for monomial, c in size.terms.items()})


def _whole(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)
