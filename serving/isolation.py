"""Find the items that a function fails on, so that an error of the model costs only the text that causes it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def isolate_failures(
    function: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    *,
    fatal: tuple[type[Exception], ...] = (),
) -> list[Result | Exception]:
    """Call a function with all items; where it raises, with each half, down to single items.

    Args:
        function: Returns one result per item.
        items: N items; the function is not called for none.
        fatal: Errors that concern no single item: raised at once.

    Returns:
        N results in order; the exception for an item that the function fails on even alone.
    """
    if not items:
        return []
    try:
        return list(function(items))
    except fatal:
        raise
    except Exception as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return isolate_failures(function, items[:half], fatal=fatal) + isolate_failures(function, items[half:], fatal=fatal)
