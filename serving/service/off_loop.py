"""Parse and clean large requests off the event loop, at most two at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

SMALL = 8_192
"""Characters or bytes up to which the work is done in place: a thread switch would take longer."""
AT_ONCE = 2
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reading")


async def off_loop(size: int, work: Callable[..., Result], *arguments: object) -> Result:
    """Run `work`, in a thread if its input is larger than `SMALL`; returns or raises what it does."""
    if size <= SMALL:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_threads, work, *arguments)
