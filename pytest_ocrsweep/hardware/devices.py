"""What a device promises by its data sheet, and what was measured on one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import ConfigError

NO_FP8 = (
    "multiplies no 8-bit floats (device.fp8_flops_per_s is null): use precision=fp8, whose products run in two bytes"
)


@dataclass(frozen=True, slots=True)
class Power:
    """What a board takes, as its own counter says, fitted to loads of an engine that it served."""

    idle_w: float  # between two kernels
    running_w: float  # while a kernel runs, whatever it does
    fj_per_flop: float  # and for each tensor FLOP: femtojoules
    most_w: float  # its cap
    spread: float  # how many times more or less than fitted another board of its kind may take

    def joules(self, wall_s: float, busy_s: float, tensor_flops: float) -> float:
        """Of so much time, in which kernels ran for `busy_s`."""
        fitted = self.idle_w * (wall_s - busy_s) + self.running_w * busy_s + self.fj_per_flop * 1e-15 * tensor_flops
        return min(fitted, self.most_w * wall_s)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: rates per second, sizes in bytes.

    If sheets disagree, the rates are the highest and the memory is the smallest of them, so that a floor stays a floor.
    """

    name: str  # as the driver reports it
    tensor_flops_per_s: float  # dense bf16, accumulated in fp32
    vector_flops_per_s: float  # fp32, outside the tensor cores
    bandwidth_bytes_per_s: float
    memory_bytes: int
    l2_bytes: int  # the last cache before DRAM
    source: str  # the sheet
    measured_tensor_flops_per_s: float | None  # in a large matmul; None: not measured
    measured_bandwidth_bytes_per_s: float | None  # in a copy, bytes read plus bytes written
    calibrated_as: str | None = None  # the driver's name of a calibrated GPU to scale from; None: nothing to scale from
    calibration: str | None = None  # a file of its own calibration; None: the package's
    power: Power | None = None  # None: nobody has measured its energy
    fp8_flops_per_s: float | None = None  # dense, of 8-bit floats accumulated in fp32; None: it multiplies none

    @property
    def ridge(self) -> float:
        """Tensor FLOPs per compulsory byte above which the tensor cores, not the memory, bound a stage."""
        return self.tensor_flops_per_s / self.bandwidth_bytes_per_s

    @property
    def fp8_speedup(self) -> float:
        """How many times more tensor FLOPs of 8-bit floats it does a second. Raises ConfigError if it does none."""
        if self.fp8_flops_per_s is None:
            raise ConfigError(f"{self.name} {NO_FP8}")
        return self.fp8_flops_per_s / self.tensor_flops_per_s

    def in_two_bytes(self, tensor_flops: float, fp8_tensor_flops: float) -> float:
        """The tensor FLOPs of two bytes that take as long as these, some of them of 8-bit floats.

        Raises ConfigError as `fp8_speedup` does, if there are some.
        """
        if not fp8_tensor_flops:
            return tensor_flops
        return tensor_flops - fp8_tensor_flops + fp8_tensor_flops / self.fp8_speedup

    @property
    def as_measured(self) -> Device:
        """This device with its measured rates in place of the sheet's, if there are any: a goal, not a bound."""
        return replace(
            self,
            tensor_flops_per_s=self.measured_tensor_flops_per_s or self.tensor_flops_per_s,
            bandwidth_bytes_per_s=self.measured_bandwidth_bytes_per_s or self.bandwidth_bytes_per_s,
        )
