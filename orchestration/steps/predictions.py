"""Predictions of a candidate on the frozen rows: computed once, and kept until the candidate or the rows change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import is_current, read_json, reuse_or_build, write_json
from data.contracts import Predictor, SarcasmPredictor
from data.labels import LABELS
from data.targets import TARGET_DOMAIN
from evaluation.leaderboard import LeaderboardRow
from evaluation.settings import EvaluationSettings
from evaluation.slices import label_ids
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, rephrased_pairs, sarcasm_texts, scored_rows, training_datasets

if TYPE_CHECKING:
    import pandas as pd

REPORT = "report.json"
"""The row of the leaderboard and the macro-recall on the validation rows, in the folder of the candidate's evaluation."""
REPORT_FORMAT = 5
"""Of `report.json`; a report of an older format is recreated."""
_CHUNK = 1024  # texts between two progress reports
PREDICTIONS = "predictions.json"
"""Next to `report.json`: one entry for each test row of the ranking, for the pages that compare models and show their errors."""
MAX_SHOWN_CHARS = 500


@dataclass(frozen=True)
class EvaluatedCandidate:
    """Calibrated probabilities on the frozen rows, and the metrics computed from them."""

    row: LeaderboardRow
    """Without its cost."""
    val_macro_recall: float
    proba_val: np.ndarray
    proba_test: np.ndarray


def frozen_rows(layout: Layout, split: str) -> "pd.DataFrame":
    """Return the rows that every candidate is evaluated on: those of the primary dataset and, as slices, of the other datasets.

    `evaluation.max_test_rows` limits the rows of the primary dataset; each other dataset has at most a quarter of that. Other
    datasets are slices and do not count in the ranking. The choice is seeded and the same for all candidates.
    `val` rows come from the datasets for training.
    """
    import pandas as pd

    settings = layout.settings(EvaluationSettings)
    frame = read_texts(layout, split, datasets=training_datasets() if split == "val" else None)
    if settings.max_test_rows is None:
        return frame
    parts = []
    for source, part in frame.groupby("source", sort=True):
        limit = settings.max_test_rows if source == settings.primary else settings.max_test_rows // 4
        parts.append(part if len(part) <= limit else part.sample(limit, random_state=settings.seed))
    return pd.concat(parts).sort_index().reset_index(drop=True)


def primary_mask(layout: Layout, frame: "pd.DataFrame") -> np.ndarray:
    """Return which rows rank the candidates: those of the primary dataset, or all where it is not available (the sample)."""
    mask = (frame["source"] == layout.settings(EvaluationSettings).primary).to_numpy()
    return mask if mask.any() else np.ones(len(frame), dtype=bool)


def predict(predictor: Predictor, rows: "pd.DataFrame", what: str) -> np.ndarray:
    """Return the probabilities of N rows by their `text` and `domain`, shape (N, 3), and report progress."""
    texts, domains, parts = rows["text"].tolist(), rows["domain"].tolist(), []
    for start in range(0, len(texts), _CHUNK):
        report(what, start / len(texts))
        part = slice(start, start + _CHUNK)
        parts.append(predictor.predict_proba(texts[part], domains=domains[part]))
    return np.concatenate(parts)


def evaluate(
    layout: Layout, name: str, key: dict[str, Any], load: Callable[[], Predictor], *, temperature: float | None = None
) -> EvaluatedCandidate:
    """Evaluate one predictor on the validation and test rows, with slices and behavioral tests.

    Args:
        layout: Where the rows are stored.
        name: Folder under `layout.evaluations`, and the predictor's name in reports.
        key: What the predictions depend on.
        load: Called only when the predictions are not stored yet.
        temperature: None: fitted on the validation rows. A bundle applies its own temperature: pass 1.0.
    """
    folder = layout.evaluations / name
    reuse_or_build(folder, evaluation_key(layout, key), lambda target: _evaluate(layout, name, load(), target, temperature))
    with np.load(folder / "probabilities.npz") as arrays:
        stored = read_json(folder / REPORT)
        evaluated = EvaluatedCandidate(
            LeaderboardRow.from_dict(stored), stored["val_macro_recall"], arrays["val"], arrays["test"]
        )
    if not (folder / PREDICTIONS).is_file():
        write_predictions(layout, folder, frozen_rows(layout, "test"), evaluated.proba_test)
    return evaluated


def write_predictions(layout: Layout, folder: Path, test: "pd.DataFrame", proba: np.ndarray) -> None:
    """Write `predictions.json`: columns of the labeled test rows of the ranking. Its readers need neither numpy nor pandas.

    Args:
        layout: Has the settings, which name the primary dataset.
        folder: Of the candidate.
        test: The frozen test rows.
        proba: Calibrated probabilities of the same rows, shape (N, 3).
    """
    kept = primary_mask(layout, test) & (label_ids(test) >= 0)
    rows, chosen = test[kept], proba[kept]
    texts = [text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…" for text in rows["text"]]
    write_json(
        folder / PREDICTIONS,
        {
            "ids": rows["id"].astype(str).tolist(),
            "texts": texts,
            "sources": rows["source"].astype(str).tolist(),
            "labels": rows["label"].astype(str).tolist(),
            "predicted": [LABELS[index] for index in chosen.argmax(axis=1)],
            "confidence": [round(float(value), 4) for value in chosen.max(axis=1)],
        },
    )


def is_evaluated(layout: Layout, name: str, key: dict[str, Any]) -> bool:
    """Return whether the evaluation is stored, so that `evaluate` would return at once."""
    return is_current(layout.evaluations / name, evaluation_key(layout, key))


def evaluation_key(layout: Layout, key: dict[str, Any]) -> dict[str, Any]:
    """Return what an evaluation depends on: the predictor's own key, the rows and the settings."""
    return {
        "format": REPORT_FORMAT,
        "predictor": key,
        "data": read_splits(layout).fingerprint,
        "settings": layout.settings(EvaluationSettings).model_dump(mode="json"),
    }


def _evaluate(layout: Layout, name: str, predictor: Predictor, target: Path, temperature: float | None) -> None:
    from data.settings import DataSettings
    from evaluation.behavior import load_cases, run_behavior
    from evaluation.metrics import apply_temperature, confusion, fit_temperature, reliability, score
    from evaluation.slices import slice_report
    from evaluation.suites import sarcastic_cases

    settings = layout.settings(EvaluationSettings)
    val, test = frozen_rows(layout, "val"), frozen_rows(layout, "test")
    proba_val = predict(predictor, val, f"{name}: validation rows")
    proba_test = predict(predictor, test, f"{name}: test rows")
    fitted = fit_temperature(label_ids(val), proba_val) if temperature is None else temperature
    proba_val, proba_test = apply_temperature(proba_val, fitted), apply_temperature(proba_test, fitted)
    main, main_val = primary_mask(layout, test), primary_mask(layout, val)
    metrics = score(label_ids(test)[main], proba_test[main], resamples=settings.bootstrap_resamples, seed=settings.seed)
    bins = zip(*reliability(label_ids(test)[main], proba_test[main]), strict=True)
    report(f"{name}: behavior")
    labels_sarcasm = sarcasm_texts(layout, "test")
    cases = load_cases(DataSettings.load().dir, settings) + sarcastic_cases(labels_sarcasm, seed=settings.seed)
    behavior = run_behavior(predictor, cases, temperature=fitted if temperature is None else 1.0)
    np.savez_compressed(target / "probabilities.npz", val=proba_val, test=proba_test)
    write_json(
        target / REPORT,
        {
            "candidate": name,
            "rows": int(main.sum()),
            "temperature": fitted,
            "metrics": {key: value.to_dict() for key, value in metrics.items()},
            "confusion": confusion(label_ids(test)[main], proba_test[main]).tolist(),
            "reliability": [
                {"confidence": round(float(sure), 4), "accuracy": round(float(right), 4), "rows": int(rows)}
                for sure, right, rows in bins
                if rows
            ],
            "val_macro_recall": score(label_ids(val)[main_val], proba_val[main_val], resamples=100)["macro_recall"].value,
            "slices": [
                row.to_dict()
                for row in slice_report(
                    test,
                    proba_test,
                    min_rows=settings.min_slice_rows,
                    resamples=settings.bootstrap_resamples,
                    seed=settings.seed,
                )
            ],
            "behavior": [row.to_dict() for row in behavior],
            "sarcasm": _sarcasm(layout, predictor, calibrated=temperature is not None),
            "rephrased": _rephrased(layout, predictor),
            "targets": _targets(layout, predictor, fitted),
        },
    )


def _rephrased(layout: Layout, predictor: Predictor) -> dict[str, Any] | None:
    """Return the JSON form of how often a sarcastic text gets the label of its plain form; None: there are no such pairs."""
    from evaluation.behavior import wilson

    pairs = rephrased_pairs(layout)
    if not len(pairs):
        return None
    domains = pairs["domain"].tolist()
    labels = [predictor.predict_proba(pairs[name].tolist(), domains=domains).argmax(axis=1) for name in ("text", "plain")]
    return wilson(int((labels[0] == labels[1]).sum()), len(pairs)).to_dict()


def _targets(layout: Layout, predictor: Predictor, temperature: float) -> dict[str, Any] | None:
    """Return the JSON form of how well a predictor scores companies; None: no test row has a score for one."""
    from evaluation.metrics import apply_temperature
    from evaluation.targets import report_targets

    rows = scored_rows(layout)
    if len(rows) < 2:
        return None
    report(f"{predictor.name}: companies")
    settings = layout.settings(EvaluationSettings)

    def proba(texts: Sequence[str]) -> np.ndarray:
        return apply_temperature(predictor.predict_proba(texts, domains=[TARGET_DOMAIN] * len(texts)), temperature)

    return report_targets(rows, proba, resamples=settings.bootstrap_resamples, seed=settings.seed).to_dict()


def _sarcasm(layout: Layout, predictor: Predictor, *, calibrated: bool) -> dict[str, Any] | None:
    """Return the JSON form of what a predictor finds of sarcasm; None: it does not predict it, or no test row labels it.

    Args:
        layout: Where the rows are stored.
        predictor: The predictor.
        calibrated: Whether its probabilities are; otherwise they are here, on the validation rows.
    """
    from evaluation.sarcasm import SarcasmReport, calibrate, fit_calibration, sarcasm_rows

    test, val = sarcasm_texts(layout, "test"), sarcasm_texts(layout, "val")
    if not isinstance(predictor, SarcasmPredictor) or not len(test):
        return None
    report(f"{predictor.name}: sarcasm")
    found = predictor.predict_sarcasm(test["text"].tolist())
    if found is None:
        return None
    settings, scale, offset = layout.settings(EvaluationSettings), 1.0, 0.0
    if not calibrated and len(val):
        of_val = predictor.predict_sarcasm(val["text"].tolist())
        assert of_val is not None
        scale, offset = fit_calibration(val["sarcasm"].to_numpy(dtype=bool), of_val)
        found = calibrate(found, scale, offset)
    rows = sarcasm_rows(test, found, resamples=settings.bootstrap_resamples, seed=settings.seed)
    return SarcasmReport(scale, offset, rows).to_dict()
