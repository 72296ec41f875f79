"""Queries to the warehouse, or to Gold, from the event loop: run in threads, each with its own client."""

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
"""Queries run at once: more would only compete for the same CPUs and delay the stream's writes."""
WAITING = 64
"""Queries that may wait for a thread."""


class TooManyQuestions(WarehouseError):
    """The queue of queries is full."""


class Warehouse:
    """Run named queries. Clients are opened on first use, since the dashboard may never be opened."""

    def __init__(self, var: Path) -> None:
        self._var = var
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="warehouse")
        self._own = threading.local()
        self._open = 0

    async def ask(self, question: str, **given: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows; see `questions.ask` for its parameters.

        Raises:
            TooManyQuestions: `WAITING` queries wait already.
            GroundswellError: The warehouse is unavailable, or the query fails.
        """
        if self._open >= THREADS + WAITING:
            raise TooManyQuestions("Too many warehouse queries wait; retry later.")
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
        return self._ask(question, given)  # a restarted warehouse server has another port and password

    def _reader(self, held: ExitStack) -> Callable[..., list[dict[str, Any]]]:
        """Open the reader that the settings name, for this thread."""
        if WarehouseSettings.load().reader == "lakehouse":
            from serving.lakehouse.paths import lakehouse_root
            from serving.lakehouse.questions import Gold
            from serving.lakehouse.questions import ask as ask_gold

            return partial(ask_gold, Gold(lakehouse_root(self._var)))
        from serving.warehouse.connect import connect
        from serving.warehouse.questions import ask

        return partial(ask, held.enter_context(connect(self._var, own=False)))


def problem_of(error: GroundswellError) -> problems.Kind:
    """Map the error of a query to its kind of problem."""
    if isinstance(error, TooManyQuestions):
        return problems.OVERLOADED
    from serving.warehouse.connect import WarehouseUnavailable  # imports filelock, which may not be installed

    return problems.NO_DATABASE if isinstance(error, WarehouseUnavailable) else problems.DATABASE_FAILED
