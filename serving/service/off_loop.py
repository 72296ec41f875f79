"""Reading what callers sent, off the event loop where it is large: parsing and cleaning, for at most two requests at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

SMALL = 8_192
"""Characters or bytes that are read where they are: handing them to a thread would take longer."""
AT_ONCE = 2
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reading")


async def off_loop(size: int, work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` returns or raises; in a thread when the size of what it reads is above `SMALL`."""
    if size <= SMALL:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_threads, work, *arguments)
