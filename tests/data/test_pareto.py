from hypothesis import given
from hypothesis import strategies as st

from data.pareto import pareto_front

POINTS = st.lists(st.tuples(st.none() | st.integers(0, 6), st.integers(0, 6)), max_size=12)


def test_the_front_has_the_points_that_no_other_dominates_by_rising_cost():
    assert pareto_front([(1, 50), (2, 40), (3, 60), (3, 70), (9, 70), (10, 71)]) == [0, 3, 5]
    assert pareto_front([(2, 7), (1, 5), (None, 9), (2, 7)]) == [1, 0, 3]
    assert pareto_front([]) == []


@given(POINTS)
def test_a_point_is_on_the_front_if_no_other_is_at_most_as_expensive_and_at_least_as_good(points):
    measured = {index: point for index, point in enumerate(points) if point[0] is not None}
    expected = {
        index
        for index, (cost, quality) in measured.items()
        if not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in measured.values())
    }
    front = pareto_front(points)
    assert set(front) == expected and len(front) == len(expected)
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)
