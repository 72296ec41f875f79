"""Parity: whether a converted model predicts the same as the original. Works on arrays; nothing here runs ONNX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from data.pareto import pareto_front
from evaluation.metrics import Estimate, check_proba, macro_recall, paired_difference

Mode = Literal["exact", "fast"]
"""How a variant is chosen; see `choose`."""
MAX_RECALL_LOSS = 0.005
"""Maximum loss of macro-recall through 8 bits, 0 to 1. Refused if the value is worse by more, or if the whole 95 % paired
interval is: a wide interval on few rows neither passes a bad model nor refuses a good one."""
MAX_FLIPS = 0.01
"""Maximum share of labels that differ between 8 bits and float32."""
MAX_BATCH_FLIPS = 0.002
"""Maximum share of labels that change with the batch mates."""
MAX_BATCH_GAP = 0.02
"""Maximum change of a probability with the batch mates."""
MAX_FP32_GAP = 1e-3
"""Maximum difference of a probability after a conversion that keeps float32."""


@dataclass(frozen=True)
class BatchInvariance:
    """Difference of predictions for the same texts alone and in batches with long texts."""

    texts: int
    flips: float
    """Share of texts whose label changed, 0 to 1."""
    max_gap: float
    """Largest change of a probability."""


@dataclass(frozen=True)
class ParityRow:
    """One converted model compared with its original."""

    name: str
    n: int
    exact_arithmetic: bool
    """float32 throughout: no label may flip."""
    flips_per_10000: float
    max_gap: float
    """Largest difference of `log p - mean log p`, which is a logit up to a constant per row."""
    max_probability_gap: float
    macro_recall: float
    recall_difference: Estimate
    """Macro-recall of the converted minus that of the reference, paired."""
    batch: BatchInvariance | None = None
    cpu_us: float | None = None
    """CPU microseconds per text, in bulk."""
    speed_up: float | None = None
    """Compared with torch, in the same run."""
    step_speed_up: float | None = None
    """Compared with the previous export variant."""
    file_bytes: int | None = None
    reasons: list[str] = field(default_factory=list[str])
    """Why parity failed; empty if it passed."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "recall_difference": self.recall_difference.to_dict()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "ParityRow":
        """Return the row from its JSON form."""
        batch = BatchInvariance(**raw["batch"]) if raw.get("batch") else None
        fields: dict[str, Any] = {**raw, "batch": batch, "recall_difference": Estimate.from_dict(raw["recall_difference"])}
        return cls(**fields)


@dataclass(frozen=True)
class ParityResult:
    """Whether the served variant predicts as the trained model does."""

    passed: bool
    text: str
    """The reasons against it, or the measured flips."""


@dataclass(frozen=True)
class ExportReport:
    """The result of an export: every variant compared with torch, and the one that was chosen."""

    candidate: str
    mode: Mode
    chosen: str
    """Name of the variant that is served."""
    bundle: str
    """Version of its bundle."""
    pareto: tuple[str, ...]
    """Names of the variants that no other dominates in CPU time and flips."""
    rows: tuple[ParityRow, ...]
    """Torch first, then the variants."""
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Students that are no tier of the bundle, with the reason."""

    @property
    def chosen_row(self) -> ParityRow:
        """The row of the variant that is served."""
        return next(row for row in self.rows if row.name == self.chosen)

    def parity(self) -> ParityResult:
        """Return whether the served variant passes the rules of the mode."""
        row = self.chosen_row
        reasons = recall_reasons(row) if self.mode == "fast" else row.reasons
        text = "; ".join(reasons) or f"{row.name} predicts as torch does: {row.flips_per_10000:g} flips per 10,000"
        return ParityResult(not reasons, text)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "rows": [row.to_dict() for row in self.rows]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "ExportReport":
        """Return the report from its JSON form."""
        rows = tuple(ParityRow.from_dict(row) for row in raw["rows"])
        fields: dict[str, Any] = {**raw, "pareto": tuple(raw["pareto"]), "rows": rows}
        return cls(**fields)


def compare(
    name: str,
    labels: np.ndarray,
    reference: np.ndarray,
    converted: np.ndarray,
    *,
    exact_arithmetic: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> ParityRow:
    """Compare predictions for the same texts.

    Args:
        name: Name of the converted model.
        labels: Class ids, shape (N,).
        reference: Probabilities of the float32 model, shape (N, 3).
        converted: Probabilities of the converted one, shape (N, 3).
        exact_arithmetic: Whether the conversion kept float32.
        resamples: Resamples of the paired bootstrap.
        seed: Seed of the paired bootstrap.
    """
    reference, converted = (check_proba(proba, len(labels)) for proba in (reference, converted))
    predicted = converted.argmax(axis=1)
    return ParityRow(
        name=name,
        n=len(labels),
        exact_arithmetic=exact_arithmetic,
        flips_per_10000=round(1e4 * float((predicted != reference.argmax(axis=1)).mean()), 2),
        max_gap=round(float(np.abs(_logits(converted) - _logits(reference)).max()), 6),
        max_probability_gap=round(float(np.abs(converted - reference).max()), 6),
        macro_recall=round(macro_recall(labels, converted), 6),
        recall_difference=paired_difference(labels, converted, reference, "macro_recall", resamples=resamples, seed=seed),
    )


def _logits(proba: np.ndarray) -> np.ndarray:
    logs = np.log(np.clip(proba, 1e-12, None))
    return logs - logs.mean(axis=1, keepdims=True)


def batch_invariance(
    predict_batch: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str], *, most: int = 500, seed: int = 0
) -> BatchInvariance:
    """Predict texts alone, then in batches of 32 whose second half is the longest texts, to which the others are padded.

    Args:
        predict_batch: Predicts all given texts in one run of the model, shape (N, 3).
        texts: Texts to sample from.
        most: Maximum texts in the sample.
        seed: Seed of the sample.
    """
    half = 16
    chosen = [str(texts[i]) for i in np.random.default_rng(seed).permutation(len(texts))[:most]]
    longest = sorted(texts, key=len)[-half:]
    groups = [chosen[start : start + half] for start in range(0, len(chosen), half)]
    alone = np.concatenate([predict_batch([text]) for text in chosen])
    batched = np.concatenate([predict_batch([*group, *longest])[: len(group)] for group in groups])
    return BatchInvariance(
        len(chosen),
        float((alone.argmax(axis=1) != batched.argmax(axis=1)).mean()),
        round(float(np.abs(alone - batched).max()), 6),
    )


def reasons_against(row: ParityRow) -> list[str]:
    """Return why a converted model does not predict what its reference does; empty if it does."""
    reasons: list[str] = []
    if row.exact_arithmetic:
        if row.flips_per_10000 > 0:
            reasons.append(f"float32 flips {row.flips_per_10000:g} labels per 10,000, none allowed")
        if row.max_probability_gap > MAX_FP32_GAP:
            reasons.append(f"float32 moves a probability by {row.max_probability_gap:g}, at most {MAX_FP32_GAP:g} allowed")
    elif row.flips_per_10000 > 1e4 * MAX_FLIPS:
        reasons.append(f"{row.flips_per_10000:g} labels per 10,000 flip, at most {1e4 * MAX_FLIPS:g} allowed")
    reasons += recall_reasons(row)
    if row.batch is not None:
        if row.batch.flips > MAX_BATCH_FLIPS:
            reasons.append(f"{100 * row.batch.flips:.2g} % of labels change with the batch, at most {100 * MAX_BATCH_FLIPS:g} %")
        if row.batch.max_gap > MAX_BATCH_GAP:
            reasons.append(f"a probability moves by {row.batch.max_gap:g} with the batch, at most {MAX_BATCH_GAP:g}")
    return reasons


def recall_reasons(row: ParityRow) -> list[str]:
    """Return why a converted model loses too much macro-recall; empty if it does not."""
    difference = row.recall_difference
    if difference.value < -MAX_RECALL_LOSS or difference.high < -MAX_RECALL_LOSS:
        return [f"macro-recall changes by {difference.text(2)} points, at least {-100 * MAX_RECALL_LOSS:g} required"]
    return []


def choose(rows: Sequence[ParityRow], mode: Mode) -> ParityRow:
    """Return the export variant to serve.

    Args:
        rows: The export variants, with `cpu_us`; at least one float32 variant that passes.
        mode: exact: the cheapest that passes every rule. fast: the cheapest that keeps macro-recall, however many labels flip.

    Raises:
        ValueError: No variant can be served.
    """
    fit = [row for row in rows if not (reasons_against(row) if mode == "exact" else recall_reasons(row))]
    if not fit:
        raise ValueError("no export variant can be served")
    return min(fit, key=lambda row: row.cpu_us if row.cpu_us is not None else float("inf"))


def pareto(rows: Sequence[ParityRow]) -> list[str]:
    """Return the names of the rows that no other row dominates in CPU time and flips, in the order of the rows."""
    front = pareto_front([(row.cpu_us or 0.0, -row.flips_per_10000) for row in rows])
    return [rows[index].name for index in sorted(front)]
