"""What a run says of energy: what a board draws at rest, and which points have no energy or none recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..baselines.gate import Outcome
from ..sweep.results import Results


def about(results: Results) -> Iterator[str]:
    """Nothing where energy was not asked for."""
    measured = [point.vendor for point in results.points.values()] + [own.measured for own in results.own.results]
    found = [(each, each.energy) for each in measured if each and each.energy]
    for board, idle_w in dict.fromkeys((f"{each.gpu} of {each.host}", energy.idle_w) for each, energy in found):
        if idle_w is not None:
            yield f"{board} draws {idle_w:,.1f} W at rest; an energy (J) is the whole board's, that power included"
    for why, count in Counter(energy.why for _, energy in found if energy.why).items():
        yield f"no energy of {_points(count)}: {why}"
    outcomes = Counter(energy.outcome for _, energy in found)
    accept = results.sweep.options.accepting_all
    if (new := outcomes[Outcome.NO_BASELINE.value]) and not results.sweep.options.update:
        yield f"no energy to compare with is recorded for {_points(new)}; to record it: {accept}"
    if less := outcomes[Outcome.IMPROVED.value]:
        yield f"less energy than recorded: {_points(less)}; to accept it: {accept}"


def _points(count: int) -> str:
    return f"{count} point" if count == 1 else f"{count:,} points"
