"""Sides measured in turns, so that a busy machine slows all of them."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Progress(Protocol):
    """Shows the progress of a section, and notes that stay on the screen."""

    def __call__(self, message: str, fraction: float | None) -> None:
        """Show what the section does now, and the fraction that is done (0 to 1; None: unknown)."""

    def note(self, text: str) -> None:
        """Print a line that stays."""


def in_turns(
    sides: Mapping[str, Callable[[int], Result]], rounds: int, progress: Callable[[str, float | None], None]
) -> dict[str, list[Result]]:
    """Run every side once per round, in a rotating order; each gets the number of the round, from 0.

    Returns:
        The results of each side, one per round.
    """
    results: dict[str, list[Result]] = {name: [] for name in sides}
    names = list(sides)
    for index in range(rounds):
        for turn in range(len(names)):
            name = names[(index + turn) % len(names)]
            progress(f"round {index + 1} of {rounds}: {name}", (index + turn / len(names)) / rounds)
            results[name].append(sides[name](index))
    return results
