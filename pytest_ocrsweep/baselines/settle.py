"""How often a point is measured before the gate decides."""

from __future__ import annotations

from collections.abc import Callable

from . import gate
from .attribution import UNSEEN, Observed
from .evidence import EXPECTED_NOISE, Baseline
from .sampling import Samples, agreeing
from .shared import ALONE, Shared


def settle(
    baseline: Baseline | None,
    measure: Callable[[], Samples],
    now: Observed = UNSEEN,
    *,
    fresh: Callable[[], Samples | None] = lambda: None,
    review: Callable[[Samples], Samples] = lambda taken: taken,
    cap: int = gate.ROUNDS,
    expected: float = EXPECTED_NOISE,
    shared: Shared = ALONE,
) -> gate.Decision:
    """Measure, and again while that may settle it, at most `cap` times; the decision holds all rounds.

    What is too close to tell is measured in a `fresh` process, as rounds in one process share its luck; and in this
    one where there can be none (None). A faster time, or one that has no baseline yet, needs CONFIRMED rounds that
    agree; else there is no sample. Each round is judged by what is known of it then, which `review` says.
    """
    rounds = [measure()]
    apart = False
    while True:
        rounds = [review(each) for each in rounds]
        decision = gate.judge(baseline, rounds, now, cap=cap, expected=expected, shared=shared, apart=apart)
        once = not apart and len(agreeing(rounds)) < gate.CONFIRMED
        alone = once and decision.outcome in (gate.Outcome.IMPROVED, gate.Outcome.NO_BASELINE)
        if len(rounds) >= cap or not (decision.again or alone):
            break
        close = decision.outcome is gate.Outcome.AMBIGUOUS and (apart or len(rounds) == 1)
        another = fresh() if close else None
        if another is None and apart:  # what the processes that could be had say is final
            return gate.judge(baseline, rounds, now, cap=len(rounds), expected=expected, shared=shared, apart=True)
        apart = another is not None
        rounds.append(measure() if another is None else another)
    if not alone:
        return decision
    counts = (
        f"{len(agreeing(rounds))} of {len(rounds)} rounds acceptable, a first or faster time needs {gate.CONFIRMED}"
    )
    return gate.Decision(gate.Outcome.NO_SAMPLE, gate.refused(counts, decision.rounds), decision.rounds)
