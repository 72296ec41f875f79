"""The answers of the warehouse, or of Gold, for the event loop: questions are asked in threads, each with a client of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import GroundswellError, WarehouseError
from serving.service import problems
from serving.settings import WarehouseSettings

THREADS = 2
"""Questions asked at once: more would only wait for the same processors, and for the stream's writes."""
WAITING = 64
"""Questions that may wait for a thread."""


class TooManyQuestions(WarehouseError):
    """They would wait for too long."""


class Warehouse:
    """Asks questions. Made when the first one is asked, as nobody may ever look."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="warehouse")
        self._own = threading.local()
        self._open = 0

    async def ask(self, question: str, **given: Any) -> list[dict[str, Any]]:
        """The rows that answer a question; see `questions.ask` for what may be given.

        Raises:
            TooManyQuestions: So many wait already.
            GroundswellError: The warehouse is away, or refuses.
        """
        if self._open >= THREADS + WAITING:
            raise TooManyQuestions("Too many questions wait for the warehouse; come back later.")
        self._open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._ask(question, given))
        finally:
            self._open -= 1

    def _ask(self, question: str, given: dict[str, Any]) -> list[dict[str, Any]]:
        known = hasattr(self._own, "ask")
        try:
            if not known:
                self._own.held = ExitStack()
                self._own.ask = self._reader(self._own.held)
            return self._own.ask(question, **given)
        except GroundswellError:
            self._own.held.close()
            self._own.__dict__.pop("ask", None)
            if not known:
                raise
        return self._ask(question, given)  # an owner that was started anew has another port and password

    def _reader(self, held: ExitStack) -> Callable[..., list[dict[str, Any]]]:
        """Whoever the settings say, for this thread."""
        if WarehouseSettings.load().reader == "lakehouse":
            from serving.lakehouse.paths import root_of
            from serving.lakehouse.questions import Gold
            from serving.lakehouse.questions import ask as ask_gold

            return partial(ask_gold, Gold(root_of(self._var)))
        from serving.warehouse.connect import connect
        from serving.warehouse.questions import ask

        return partial(ask, held.enter_context(connect(self._var, own=False)))


def problem_of(error: GroundswellError) -> problems.Kind:
    """Name the problem of a question that failed."""
    if isinstance(error, TooManyQuestions):
        return problems.OVERLOADED
    from serving.warehouse.connect import WarehouseAway  # with filelock, which may not be installed

    return problems.NO_DATABASE if isinstance(error, WarehouseAway) else problems.DATABASE_FAILED
