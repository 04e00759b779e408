"""Every further stage of every crop grid and attention, against its baseline.

Vision, prefill and decode have suites of their own. A new entry in STAGES is swept here without a new file.
"""

from pathlib import Path

import pytest

from pytest_ocrsweep.model.stages import STAGES

FURTHER = [stage for stage in STAGES if not Path(__file__).with_name(f"test_{stage}.py").exists()]

if FURTHER:  # pytest would show a skipped test for each grid of an empty list

    @pytest.mark.parametrize("stage", FURTHER)
    def test_further(ocrsweep, stage, grid, attention):
        ocrsweep.check(stage, grid, attention)
