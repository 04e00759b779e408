"""An estimate in a document: a time inside its interval, whose terms sum to it."""

from __future__ import annotations

from .json_layout import Field, Layout, Plain, Wrong, each, many, text, whole
from .result import EstimateResult

_LAYOUT = Layout(
    EstimateResult,
    {
        "device": text,
        **dict.fromkeys(("time_ns", "low_ns", "high_ns"), whole),
        "terms": Field(each(whole), {}),
        "reasons": Field(many(text), ()),
    },
)


def _read(value: object) -> EstimateResult:
    """Raises Wrong. A run without terms is an older one's."""
    made = _LAYOUT.read(value)
    if made.time_ns < 1 or not made.low_ns <= made.time_ns <= made.high_ns:
        raise Wrong("must have low_ns, time_ns and high_ns in ascending order, and a time above 0")
    if made.terms and sum(made.terms.values()) != made.time_ns:
        raise Wrong(f"must have terms that sum to its time_ns, {made.time_ns}, got {sum(made.terms.values())}")
    return made


ESTIMATE = Plain(_read, _LAYOUT.write)
