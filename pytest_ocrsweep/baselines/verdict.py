"""What a point came to, worst first."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Of several verdicts, a point gets the one that stands first here. A text of another version is one, too."""

    FAIL = "FAIL"
    NO_SAMPLE = "NO SAMPLE"
    NO_BASELINE = "NO BASELINE"
    IMPROVED = "IMPROVED"
    RECORDED = "RECORDED"
    PASS = "PASS"
    COUNTED = "COUNTED"  # by `ocrsweep sweep`, which compares with nothing
    NOT_TIMED = "NOT TIMED"  # code of the user's own that was skipped: nothing of it was checked

    @property
    def failed(self) -> bool:
        """Whether the point is a failure."""
        return self in (Verdict.FAIL, Verdict.NO_SAMPLE)

    @property
    def rank(self) -> int:
        """0 for the worst; texts of another version come last."""
        return _RANKS.get(self.value, len(_RANKS))

    @classmethod
    def _missing_(cls, value: object) -> Verdict | None:
        """A text that a report from elsewhere has: kept as it is, and no failure."""
        if not isinstance(value, str):
            return None
        other = str.__new__(cls, value)
        other._name_ = other._value_ = value
        return other

    __hash__ = str.__hash__  # by value, as it is compared: Enum's own is by name


_RANKS = {verdict.value: rank for rank, verdict in enumerate(Verdict)}
FAILED = tuple(verdict for verdict in Verdict if verdict.failed)


def worst(*verdicts: Verdict) -> Verdict:
    """The one that a point with all of them gets."""
    return min(verdicts, key=lambda verdict: verdict.rank)
