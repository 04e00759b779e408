"""What every test of the reference model shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads stand in each other's way on a busy machine; and nothing is trained here."""
    torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)
