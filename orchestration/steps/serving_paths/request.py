"""One run of all paths: what every path gets, and how it reports that it cannot run here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.serving_paths.outcomes import Numbered
from orchestration.steps.serving_paths.rows import Row
from serving.bundle import BUNDLE_ENV, Bundle

LIMIT_S = 1_800.0
"""Longest time for one path, in seconds. Spark takes minutes where other work shares the cores."""
RESPONSE_S = 120.0
"""Longest wait for one response, in seconds."""
ROWS, OUTCOMES = "rows.jsonl", "outcomes.jsonl"
"""Files in the folder of a path that runs in a process of its own."""
_OWN = ("STREAM", "WAREHOUSE", "LANGUAGES", "SERVING", "LAKEHOUSE")
_KEPT = ("GROUNDSWELL_SERVING__ENGINE", "GROUNDSWELL_LAKEHOUSE__MASTER", "GROUNDSWELL_LAKEHOUSE__SPARK")


class Skipped(Exception):
    """A path that cannot run on this machine; the message is the reason."""


@dataclass(frozen=True)
class Sent:
    """Outcomes of a path."""

    outcomes: list[Numbered]
    note: str
    """What was called, for the report."""


@dataclass(frozen=True)
class Request:
    """The texts and the bundle for every path."""

    layout: Layout
    bundle: Bundle
    rows: list[Row]
    folder: Path
    """A temporary folder."""

    def own_folder(self, path: str) -> Path:
        """Return a new folder for a path."""
        folder = self.folder / path
        folder.mkdir()
        return folder

    def environment(self, folder: Path, **more: str) -> dict[str, str]:
        """Return the variables of a process that classifies with the bundle and stores nothing outside of a folder.

        Settings of stores, keys and load control do not apply: they choose where a text is sent, not its prediction.

        Args:
            folder: For its `var/`.
            more: More variables.
        """
        own = tuple(f"GROUNDSWELL_{section}__" for section in _OWN)
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(own)}
        return kept | {
            "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
            BUNDLE_ENV: str(self.bundle.directory.resolve()),
            "GROUNDSWELL_SERVING__KEYS": "false",
            "GROUNDSWELL_SERVING__PREDICTION_STORE": "memory",
            "GROUNDSWELL_SERVING__MIN_FREE_DISK": "0",
            # On a busy machine a request of long texts takes longer than a caller would wait.
            "GROUNDSWELL_SERVING__DEADLINE_MS": str(round(RESPONSE_S * 1000)),
            # A quarter of the texts are hard, some are refused: no reason to stop the worker.
            "GROUNDSWELL_STREAM__DEAD_LETTER_LIMIT": "1",
            "DO_NOT_TRACK": "1",
            **more,
        }


def require_packages(extra: str, *names: str) -> None:
    """Raise if a package is not installed.

    Raises:
        Skipped: Names the extra that has it.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise Skipped(f"{', '.join(missing)} not installed; `pip install groundswell[{extra}]` installs it.")


def progress_of(path: str) -> Callable[[float], None]:
    """Return a function that reports the seconds that a path has taken."""
    return lambda seconds: report(f"{path}, {seconds:.0f} s")
