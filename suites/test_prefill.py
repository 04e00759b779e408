"""The `prefill` stage of every crop grid and attention, against its baseline."""


def test_prefill(ocrsweep, grid, attention):
    ocrsweep.check("prefill", grid, attention)
