"""What kernels cost: FLOPs, and bytes read and written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs, and the bytes that kernels read and write; costs add, and a whole number multiplies them."""

    tensor_flops: int = 0
    vector_flops: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    fp8_tensor_flops: int = 0  # those of the tensor FLOPs whose operands are 8-bit floats

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.tensor_flops + other.tensor_flops,
            self.vector_flops + other.vector_flops,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            self.fp8_tensor_flops + other.fp8_tensor_flops,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(
            self.tensor_flops * times,
            self.vector_flops * times,
            self.read_bytes * times,
            self.write_bytes * times,
            self.fp8_tensor_flops * times,
        )

    __rmul__ = __mul__

    @property
    def flops(self) -> int:
        """Tensor and vector FLOPs together."""
        return self.tensor_flops + self.vector_flops

    @property
    def moved_bytes(self) -> int:
        """Bytes read plus bytes written, kernel by kernel."""
        return self.read_bytes + self.write_bytes
