"""The `decode` stage of every crop grid and attention, against its baseline."""


def test_decode(ocrsweep, grid, attention):
    ocrsweep.check("decode", grid, attention)
