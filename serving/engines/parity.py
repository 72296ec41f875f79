"""The parity set of a bundle: whether an engine computes on this CPU what was measured at export."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import BundleError
from data.labels import LABELS
from data.tokenization import pad
from serving.classifier import TOKEN_BUDGET, plan_runs
from serving.engines.engine import Engine

MAX_MORE_FLIPS = 0.01
"""Most further labels that may differ from float32, next to those that differed at export; a share of the texts."""
MAX_MORE_GAP = 0.002
"""Most that the mean difference of a probability from float32 may exceed that at export. On 200 texts a count of labels is
coarse. The two engines differ by 0.0001 in it, a scheme with twice the flips by 0.005."""

Run = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions of the texts, `input_ids` and `attention_mask`."""


@dataclass(frozen=True)
class ParitySet:
    """Texts as token ids, with the logits of the float32 model and how far the served model was from them at export."""

    rows: list[list[int]]
    logits: np.ndarray
    """Of the float32 model, float32, shape (N, 3), or (N, D, 3) of a model with D heads."""
    fill: int
    """Token id of padding."""
    flips: int
    """Labels of the served model that differed at export, on ONNX Runtime: of any head."""
    mean_gap: float
    """Mean difference of its probabilities there."""

    def runs(self) -> list[Run]:
        """Return the texts in the runs that a classifier makes of them."""
        order = sorted(range(len(self.rows)), key=lambda i: len(self.rows[i]), reverse=True)
        parts = [order[start:end] for start, end in plan_runs([len(self.rows[i]) for i in order], TOKEN_BUDGET)]
        return [(np.array(part), *pad([self.rows[i] for i in part], self.fill)) for part in parts]


@dataclass(frozen=True)
class Parity:
    """An engine compared with the float32 model."""

    flips: int
    """Labels that differ."""
    mean_gap: float
    """Mean difference of a probability, 0 to 1."""
    reason: str
    """Why it failed; empty if it passed."""


def write_parity(file: Path, rows: Sequence[Sequence[int]], fill: int, *, float32: Engine, served: Engine) -> None:
    """Write the parity set of a bundle.

    Args:
        file: An `.npz` file to create.
        rows: Token ids of N texts, such as 200 of the validation split.
        fill: Token id of padding.
        float32: The float32 model, on ONNX Runtime.
        served: The model of the bundle, on ONNX Runtime.
    """
    whole = ParitySet([list(row) for row in rows], np.zeros((len(rows), len(LABELS)), np.float32), fill, 0, 0.0)
    logits = run_all(float32, whole)
    flips, mean_gap = _distance(logits, run_all(served, whole))
    np.savez_compressed(
        file,
        ids=np.array([token for row in rows for token in row], dtype=np.int32),
        lengths=np.array([len(row) for row in rows], dtype=np.int32),
        logits=logits,
        fill=np.int32(fill),
        flips=np.int32(flips),
        mean_gap=np.float32(mean_gap),
    )


def read_parity(file: Path) -> ParitySet:
    """Read a parity set.

    Raises:
        BundleError: The file is missing, or not a parity set.
    """
    try:
        with np.load(file, allow_pickle=False) as held:
            ids, lengths, logits = held["ids"], held["lengths"], held["logits"]
            fill, flips, mean_gap = int(held["fill"]), int(held["flips"]), float(held["mean_gap"])
        of_each = logits.shape[:1] + logits.shape[-1:] == (len(lengths), len(LABELS))
        if not len(lengths) or not of_each or lengths.sum() != len(ids) or lengths.min() < 1:
            raise ValueError(f"{len(ids)} token ids, {len(lengths)} lengths, logits of shape {logits.shape}")
        if not np.isfinite(logits).all():
            raise ValueError("logits that are not finite")
    except Exception as error:  # zipfile, numpy and the file system each raise their own
        raise BundleError(f"The parity set {file} cannot be read.", found=error, remedy="Export the bundle again.") from error
    rows = [part.tolist() for part in np.split(ids.astype(np.int64), np.cumsum(lengths)[:-1])]
    return ParitySet(rows, logits, fill, flips, mean_gap)


def run_all(engine: Engine, parity_set: ParitySet) -> np.ndarray:
    """Return the logits of every text, float32, shape (N, 3) or (N, D, 3)."""
    runs = parity_set.runs()
    found = np.concatenate([engine.run(input_ids, mask).logits for _, input_ids, mask in runs])
    return found[np.argsort(np.concatenate([positions for positions, _, _ in runs]))]


def compare(parity_set: ParitySet, logits: np.ndarray) -> Parity:
    """Compare an engine's logits for the texts with those of the float32 model."""
    if not np.isfinite(logits).all():
        return Parity(len(logits), 1.0, "logits that are not finite")
    flips, mean_gap = _distance(parity_set.logits, logits)
    most = parity_set.flips + int(MAX_MORE_FLIPS * len(logits))
    reasons = []
    if flips > most:
        reasons.append(f"{flips} of {len(logits)} labels differ from float32; at most {most} may")
    if mean_gap > parity_set.mean_gap + MAX_MORE_GAP:
        limit = parity_set.mean_gap + MAX_MORE_GAP
        reasons.append(f"probabilities differ from float32 by {mean_gap:.4f} on average; at most {limit:.4f} may")
    return Parity(flips, mean_gap, "; ".join(reasons))


def _distance(reference: np.ndarray, logits: np.ndarray) -> tuple[int, float]:
    """Return how many labels differ, and the mean difference of a probability."""
    differs = reference.argmax(axis=-1) != logits.argmax(axis=-1)
    flips = int(differs.reshape(len(differs), -1).any(axis=1).sum())
    return flips, float(np.abs(_softmax(reference) - _softmax(logits)).mean())


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
