"""The `vision` stage of every crop grid and attention, against its baseline."""


def test_vision(ocrsweep, grid, attention):
    ocrsweep.check("vision", grid, attention)
