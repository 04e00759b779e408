"""How fast an engine's host is, as its interpreter measures it."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.engines.runner_vllm import host


def test_the_speed_at_the_start_is_read_again_and_again_over_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(host.time, "sleep", waited.append)
    found = host.speed()
    assert sum(waited) == pytest.approx(1)
    assert len(found) == host.READINGS
    assert min(found) > 0
