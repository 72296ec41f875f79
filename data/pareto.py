"""The Pareto front of points of cost and quality."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float | None, float]]) -> list[int]:
    """Return the indices of the points that no other point dominates, by rising cost.

    A point dominates another if it is at most as expensive and at least as good, and differs. A point without a cost is not
    measured: it is not on the front and dominates nothing.

    Args:
        points: (cost, quality).
    """
    front: list[int] = []
    best = (-float("inf"), -float("inf"))
    costs = {index: (cost, quality) for index, (cost, quality) in enumerate(points) if cost is not None}
    for index, (cost, quality) in sorted(costs.items(), key=lambda item: (item[1][0], -item[1][1])):
        if quality > best[1] or (cost, quality) == best:  # equal points do not dominate each other
            front.append(index)
            best = cost, quality
    return front
