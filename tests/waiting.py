"""How a test waits for something that no event announces, such as a row of another process.

The bound ends what hangs. It is minutes long, because these machines are slow at times; a test that passes does not wait for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

Value = TypeVar("Value")
BOUND_S = 600.0


def until_passes(
    check: Callable[[], Value],
    *,
    retry: type[Exception] | tuple[type[Exception], ...] = AssertionError,
    running: Callable[[], object] = lambda: True,
    every_s: float = 0.05,
    bound_s: float = BOUND_S,
) -> Value:
    """Call `check` until it raises no exception of `retry`; return its value. The last exception is raised at the bound.

    Args:
        check: Called again and again.
        retry: Exceptions that mean "not yet".
        running: Returns something false if waiting has no more sense, because a process has ended.
        every_s: Seconds between two calls.
        bound_s: Seconds after which the test fails.
    """
    stop = stop_after_delay(bound_s) | (lambda _: not running())
    return Retrying(retry=retry_if_exception_type(retry), stop=stop, wait=wait_fixed(every_s), reraise=True)(check)


def until(condition: Callable[[], Value], **how: Any) -> Value:
    """Call `condition` until it returns something true; return that. `how`: as for `until_passes`."""

    def check() -> Value:
        value = condition()
        assert value, "the condition was not met, or the process ended"
        return value

    return until_passes(check, **how)


async def until_async(condition: Callable[[], Awaitable[Value]]) -> Value:
    """Await `condition` until it returns something true; return that. Other tasks run in between."""
    async with asyncio.timeout(BOUND_S):
        while not (value := await condition()):
            await asyncio.sleep(0.02)
    return value
