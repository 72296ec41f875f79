import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.isolation import isolate_failures


@given(st.lists(st.tuples(st.integers(), st.booleans()), max_size=40))
def test_each_item_that_fails_gets_its_exception_and_every_other_its_result(items):
    def double(part):
        assert part, "not called for nothing"
        for number, fails in part:
            if fails:
                raise ValueError(number)
        return [2 * number for number, _ in part]

    found = isolate_failures(double, items)
    assert [str(each) if isinstance(each, ValueError) else each for each in found] == [
        str(number) if fails else 2 * number for number, fails in items
    ]


def test_an_error_of_the_model_itself_is_raised_at_once():
    calls = []

    def broken(part):
        calls.append(len(part))
        raise OSError

    with pytest.raises(OSError):
        isolate_failures(broken, range(8), fatal=(OSError,))
    assert calls == [8]
