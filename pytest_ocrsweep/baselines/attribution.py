"""What changed along with a slowdown, and so where to look first."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen along with a time; None where it was not."""

    time_ns: float | None = None
    tensor_flops: int | None = None
    kernels: int | None = None
    peak_bytes: int | None = None
    sm_clock_mhz: int | None = None
    power_capped: bool | None = field(
        default=None, kw_only=True
    )  # the clock is then the power cap's, and the mean of all readings


UNSEEN = Observed()


@dataclass(frozen=True, slots=True)
class _Fact:
    """How one observed field is named; a relative difference of at most `same` counts as no change."""

    field: str
    name: str
    change: str
    same: float
    advice: str


# One boost step, 15 MHz, is 0.8 % of 1980 MHz.
_CLOCK = _Fact("sm_clock_mhz", "SM clock", "{} -> {} MHz", 0.01, "look at the machine first")

# In the order of asking: what was done comes before how fast the machine did it.
_FACTS = (
    _Fact("tensor_flops", "FLOPs", "{:,} -> {:,}", 0, "other work: look at the model and the workload"),
    _Fact("kernels", "kernels", "{} -> {}", 0, "other kernels: look at library versions and backends"),
    _CLOCK,
    _Fact("peak_bytes", "peak memory", "{:,} -> {:,} bytes", 0.001, "look for a new copy or temporary tensor"),
)


POWER_CAP = "the power cap, not the code, unless the code now draws more power"


def _grown(then: Observed, now: Observed) -> float:
    return now.time_ns / then.time_ns - 1 if now.time_ns and then.time_ns else 0.0


def _cycles(then: Observed, now: Observed) -> float | None:
    """The change of time in cycles of the mean SM clock, as a ratio; None unless both ran under the power cap."""
    if not (then.power_capped and now.power_capped and then.sm_clock_mhz and now.sm_clock_mhz):
        return None
    return (1 + _grown(then, now)) * now.sm_clock_mhz / then.sm_clock_mhz - 1


def attribute(then: Observed, now: Observed, margin: float = 0.0) -> str:
    """What changed along with a slowdown and where to look first; what a side does not know is left out.

    Where both sides ran under the power cap, the cycles say whether its clock accounts for the slowdown: if they grew
    by no more than the margin, and by less than half as much as the time.
    """
    words = []
    if then.time_ns is not None and now.time_ns is not None:
        words.append(f"time {(now.time_ns / then.time_ns - 1) * 100:+.1f} %")
    pairs = [(fact, getattr(then, fact.field), getattr(now, fact.field)) for fact in _FACTS]
    known = [(fact, old, new) for fact, old, new in pairs if old is not None and new is not None]
    cycles = _cycles(then, now)
    exact = cycles is not None  # a mean of many readings
    same = [
        fact.name for fact, old, new in known if abs(new - old) <= fact.same * old * (not exact or fact is not _CLOCK)
    ]
    changed = [(fact, old, new) for fact, old, new in known if fact.name not in same]
    if same:
        words.append(" and ".join(filter(None, [", ".join(same[:-1]), same[-1]])) + " unchanged")
    words += [f"{fact.name} {fact.change.format(old, new)}" for fact, old, new in changed]
    if cycles is not None:
        words.append(f"cycles {cycles * 100:+.1f} % under the power cap")
    # A clock that rose explains no slowdown; of one under the power cap, the cycles say whether it does.
    advice = [fact.advice for fact, old, new in changed if fact is not _CLOCK or (new < old and not exact)]
    if cycles is not None and cycles <= min(margin, _grown(then, now) / 2):
        advice.append(POWER_CAP)
    if not known:
        look = "nothing else is known of both then and now"
    elif advice:
        look = advice[0]
    else:
        work = ["same work"] if {"FLOPs", "kernels"} <= set(same) else []
        clock = ["same clock"] if "SM clock" in same else []
        look = f"{', '.join([*work, *clock, 'slower'])}: look at drivers, libraries or the code between kernels"
    return f"{', '.join(words)}: {look}" if words else look
