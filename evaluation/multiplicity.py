"""Many comparisons at once: how often one of them is beyond chance by chance alone.

Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
"""

from collections.abc import Sequence

import numpy as np

from evaluation.metrics import Estimate

ALPHA = 0.025
"""One-sided: what the whole 95 % interval of a single comparison below a value stands for."""
_Z = 1.959964
"""Half-width of a 95 % interval, in standard deviations."""


def p_worse(difference: Estimate, margin: float) -> float:
    """Return the probability of such a difference, or a lower one, if the true one were minus the margin; 0 to 1.

    From the width of its 95 % interval, as that of a normal distribution; 1 where the difference is not known.
    """
    from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

    if not np.isfinite([difference.value, difference.low, difference.high]).all():
        return 1.0
    deviation = (difference.high - difference.low) / (2 * _Z)
    if deviation == 0:
        return float(difference.value >= -margin)
    return float(stats.norm.cdf((difference.value + margin) / deviation))  # pyright: ignore[reportUnknownMemberType]


def holm(p: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Return which comparisons are beyond chance: with probability `1 - alpha` or more none of those where nothing differs is."""
    order = np.argsort(p, kind="stable")
    rejected = [False] * len(p)
    for rank, index in enumerate(order.tolist()):
        if p[index] > alpha / (len(p) - rank):
            break
        rejected[index] = True
    return rejected
