"""What changed along with a slowdown, and so where to look first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen along with a time; None where it was not."""

    time_ns: float | None = None
    tensor_flops: int | None = None
    kernels: int | None = None
    peak_bytes: int | None = None
    sm_clock_mhz: int | None = None


UNSEEN = Observed()


@dataclass(frozen=True, slots=True)
class _Fact:
    """How one observed field is named; a relative difference of at most `same` counts as no change."""

    field: str
    name: str
    change: str
    same: float
    advice: str


# In the order of asking: what was done comes before how fast the machine did it.
_FACTS = (
    _Fact("tensor_flops", "FLOPs", "{:,} -> {:,}", 0, "other work: look at the model and the workload"),
    _Fact("kernels", "kernels", "{} -> {}", 0, "other kernels: look at library versions and backends"),
    # One boost step, 15 MHz, is 0.8 % of 1980 MHz.
    _Fact("sm_clock_mhz", "SM clock", "{} -> {} MHz", 0.01, "look at the machine first"),
    _Fact("peak_bytes", "peak memory", "{:,} -> {:,} bytes", 0.001, "look for a new copy or temporary tensor"),
)


def attribute(then: Observed, now: Observed) -> str:
    """What changed along with a slowdown and where to look first; what a side does not know is left out."""
    words = []
    if then.time_ns is not None and now.time_ns is not None:
        words.append(f"time {(now.time_ns / then.time_ns - 1) * 100:+.1f} %")
    pairs = [(fact, getattr(then, fact.field), getattr(now, fact.field)) for fact in _FACTS]
    known = [(fact, old, new) for fact, old, new in pairs if old is not None and new is not None]
    same = [fact.name for fact, old, new in known if abs(new - old) <= fact.same * old]
    changed = [(fact, old, new) for fact, old, new in known if fact.name not in same]
    if same:
        words.append(" and ".join(filter(None, [", ".join(same[:-1]), same[-1]])) + " unchanged")
    words += [f"{fact.name} {fact.change.format(old, new)}" for fact, old, new in changed]
    # A clock that rose explains no slowdown.
    advice = [fact.advice for fact, old, new in changed if fact.field != "sm_clock_mhz" or new < old]
    if not known:
        look = "nothing else is known of both then and now"
    elif advice:
        look = advice[0]
    else:
        work = ["same work"] if {"FLOPs", "kernels"} <= set(same) else []
        clock = ["same clock"] if "SM clock" in same else []
        look = f"{', '.join([*work, *clock, 'slower'])}: look at drivers, libraries or the code between kernels"
    return f"{', '.join(words)}: {look}" if words else look
