"""The domain-transfer matrix: models that learned from one domain or from all, each evaluated on every domain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from evaluation.leaderboard_page import markdown_table, signed_points
from evaluation.metrics import RESAMPLES, Estimate, paired_difference, score

HEADS, GENERALIST = "heads", "generalist"
"""Models of all domains: with a head for each, and with one head."""


@dataclass(frozen=True)
class Cell:
    """One model on one domain."""

    learned: str
    """The domain that it learned from, or `HEADS` or `GENERALIST`."""
    domain: str
    n: int
    """Evaluated rows."""
    macro_recall: Estimate

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the cell from its JSON form."""
        fields: dict[str, Any] = {**raw, "macro_recall": Estimate.from_dict(raw["macro_recall"])}
        return cls(**fields)


@dataclass(frozen=True)
class Gain:
    """The macro-recall of heads on a domain minus that of another model, paired on the same rows."""

    domain: str
    over: str
    difference: Estimate

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the gain from its JSON form."""
        fields: dict[str, Any] = {**raw, "difference": Estimate.from_dict(raw["difference"])}
        return cls(**fields)


@dataclass(frozen=True)
class Transfer:
    """The matrix. All models have the same base model and saw the same rows of a domain."""

    candidate: str
    epochs: int
    seed: int
    learned_rows: dict[str, int]
    """Rows of each domain that models learned from."""
    cells: tuple[Cell, ...]
    gains: tuple[Gain, ...]

    @property
    def learned(self) -> tuple[str, ...]:
        """The rows of the matrix."""
        return tuple(dict.fromkeys(cell.learned for cell in self.cells))

    @property
    def domains(self) -> tuple[str, ...]:
        """The columns of the matrix."""
        return tuple(dict.fromkeys(cell.domain for cell in self.cells))

    def at(self, learned: str, domain: str) -> Cell:
        """Return the cell of a model and a domain."""
        return next(cell for cell in self.cells if (cell.learned, cell.domain) == (learned, domain))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        cells = [asdict(cell) | {"macro_recall": cell.macro_recall.to_dict()} for cell in self.cells]
        gains = [asdict(gain) | {"difference": gain.difference.to_dict()} for gain in self.gains]
        return {**vars(self), "cells": cells, "gains": gains}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the matrix from its JSON form."""
        fields: dict[str, Any] = {
            **raw,
            "cells": tuple(Cell.from_dict(cell) for cell in raw["cells"]),
            "gains": tuple(Gain.from_dict(gain) for gain in raw["gains"]),
        }
        return cls(**fields)


def transfer_matrix(
    domains: Sequence[str], labels: np.ndarray, probas: Mapping[str, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[Cell, ...], tuple[Gain, ...]]:
    """Evaluate models on every domain.

    Args:
        domains: The domain of each of N evaluated rows.
        labels: Class ids, shape (N,).
        probas: Probabilities of those rows by what the model learned from, `HEADS` and `GENERALIST` among them, shape (N, 3).
        resamples: Resamples of the bootstrap.
        seed: Its seed.

    Returns:
        A cell of each model and domain; and what heads gain on each domain over the generalist and over its own model.
    """
    of_row = np.array(domains)
    masks = {domain: of_row == domain for domain in dict.fromkeys(domains)}
    sampled = {"resamples": resamples, "seed": seed}
    cells = tuple(
        Cell(learned, domain, int(mask.sum()), score(labels[mask], proba[mask], **sampled)["macro_recall"])
        for learned, proba in probas.items()
        for domain, mask in masks.items()
    )
    gains = tuple(
        Gain(
            domain, over, paired_difference(labels[mask], probas[HEADS][mask], probas[over][mask], resamples=resamples, seed=seed)
        )
        for domain, mask in masks.items()
        for over in (GENERALIST, domain)
        if over in probas
    )
    return cells, gains


def as_markdown(transfer: Transfer) -> str:
    """Return the matrix and the gains as Markdown."""
    head = ["learned from", *transfer.domains]
    cells = [
        [learned, *(transfer.at(learned, domain).macro_recall.text() for domain in transfer.domains)]
        for learned in transfer.learned
    ]
    gains = [[gain.domain, gain.over, signed_points(gain.difference)] for gain in transfer.gains]
    rows = ", ".join(f"{domain} {rows:,}" for domain, rows in transfer.learned_rows.items())
    return (
        "\n\n".join(
            [
                "# Domain transfer",
                f"Macro-recall on each domain, points of 100 with 95 % bootstrap intervals, of {transfer.candidate} after "
                f"{transfer.epochs} epoch{'s' if transfer.epochs > 1 else ''}, seed {transfer.seed}. Rows learned from: {rows}.",
                markdown_table(head, cells),
                "What heads gain, paired on the same rows; * marks a difference whose interval excludes 0:",
                markdown_table(["domain", "over", "points"], gains),
            ]
        )
        + "\n"
    )
