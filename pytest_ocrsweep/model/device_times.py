"""What a ledger asks of the layers above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .ledger import Ledger


class DeviceTimes(Protocol):
    """Devices by name, and the times that they give."""

    def device(self, device: Any) -> Any:
        """The device itself, from itself or from its name. Raises ConfigError, which names the known ones."""
        ...

    def floor(self, ledger: Ledger, device: Any) -> Any:
        """The stage's floor on the device."""
        ...

    def estimate(self, ledger: Ledger, device: Any) -> Any:
        """What the stage is expected to take on the device."""
        ...
