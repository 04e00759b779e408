"""What every test of the reference model shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads stand in each other's way on a busy machine."""
    torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
