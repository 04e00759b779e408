"""Student's t: how far a difference may lie from zero by chance, in standard deviations that are themselves guessed."""

from __future__ import annotations

import math
import statistics
from functools import lru_cache


@lru_cache(maxsize=1 << 12)
def student(chance: float, df: float) -> float:
    """Student's t that is exceeded with this chance, one-sided, for five degrees of freedom or more, to 1e-5.

    G. W. Hill, "Algorithm 396: Student's t-quantiles", CACM 13 (1970), whose names these are.
    """
    a = 1 / (df - 0.5)
    b = 48 / a**2
    c = ((20_700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * df
    y = (2 * chance * d) ** (2 / df)
    if y <= a + 0.05:  # far out
        z = 1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)
        return math.sqrt(df * ((z * y - 1) * (df + 1) / (df + 2) + 1 / y))
    x = statistics.NormalDist().inv_cdf(chance)
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    x2 = x * x
    y = (((((0.4 * x2 + 6.3) * x2 + 36) * x2 + 94.5) / c - x2 - 3) / b + 1) * x
    return math.sqrt(df * math.expm1(a * y * y))
