"""What a candidate answers on the frozen rows: judged once, kept until the candidate or the rows change."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import is_current, read_json, reuse_or_build, write_json
from data.contracts import Predictor
from data.labels import LABELS
from evaluation.settings import EvaluationSettings
from evaluation.slices import label_ids
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, read_texts, training_sets

if TYPE_CHECKING:
    import pandas as pd

REPORT_FORMAT = 2
"""Of `report.json`: one of an older format is made anew."""
_CHUNK = 1024  # texts between two lines of progress
PREDICTIONS = "predictions.json"
"""Beside `report.json`: one entry a test row that ranks, for the pages that compare models and show their errors."""
MAX_SHOWN_CHARS = 500


@dataclass(frozen=True)
class Judged:
    """Probabilities on the frozen rows, calibrated, and the numbers made from them."""

    name: str
    temperature: float
    report: dict[str, Any]
    proba_val: np.ndarray
    proba_test: np.ndarray


def frozen_rows(layout: Layout, split: str) -> "pd.DataFrame":
    """The rows every candidate is judged on: the primary set's and, for slices, those of the other sets.

    With `evaluation.max_test_rows`, at most that many of the primary set and a quarter as many of each other, which are
    slices and rank nobody; the same seeded choice for all.
    `val` rows come from the sets that are trained on.
    """
    import pandas as pd

    settings = EvaluationSettings.load()
    frame = read_texts(layout, split, sets=training_sets() if split == "val" else None)
    if settings.max_test_rows is None:
        return frame
    parts = []
    for source, part in frame.groupby("source", sort=True):
        limit = settings.max_test_rows if source == settings.primary else settings.max_test_rows // 4
        parts.append(part if len(part) <= limit else part.sample(limit, random_state=settings.seed))
    return pd.concat(parts).sort_index().reset_index(drop=True)


def primary_mask(frame: "pd.DataFrame") -> np.ndarray:
    """Which rows rank the candidates: those of the primary set; all, where it is not there (the sample)."""
    mask = (frame["source"] == EvaluationSettings.load().primary).to_numpy()
    return mask if mask.any() else np.ones(len(frame), dtype=bool)


def predict(predictor: Predictor, texts: list[str], what: str) -> np.ndarray:
    """Probabilities of N texts, shape (N, 3), with progress."""
    parts = []
    for start in range(0, len(texts), _CHUNK):
        report(what, start / len(texts))
        parts.append(predictor.predict_proba(texts[start : start + _CHUNK]))
    return np.concatenate(parts)


def judge(
    layout: Layout, name: str, key: dict[str, Any], load: Callable[[], Predictor], *, temperature: float | None = None
) -> Judged:
    """Judge one predictor on the validation and test rows, with slices and behavior.

    Args:
        layout: Where the rows lie.
        name: Folder under `judged/`, and what reports call it.
        key: What the answers depend on.
        load: Called only when the answers are not there yet.
        temperature: None: fitted on the validation rows. A bundle brings its own, already applied: give 1.0.
    """
    folder = layout.judged / name
    reuse_or_build(folder, evaluation_key(layout, key), lambda target: _judge(layout, name, load(), target, temperature))
    with np.load(folder / "probabilities.npz") as arrays:
        found = read_json(folder / "report.json")
        judged = Judged(name, found["temperature"], found, arrays["val"], arrays["test"])
    if not (folder / PREDICTIONS).is_file():
        write_predictions(folder, frozen_rows(layout, "test"), judged.proba_test)
    return judged


def write_predictions(folder: Path, test: "pd.DataFrame", proba: np.ndarray) -> None:
    """Write `predictions.json`: columns of the labeled test rows that rank, so that who reads it needs neither numpy nor pandas.

    Args:
        folder: Of the candidate.
        test: The frozen test rows.
        proba: Calibrated probabilities of the same rows, shape (N, 3).
    """
    kept = primary_mask(test) & (label_ids(test) >= 0)
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
    """Say whether `judge` would return at once."""
    return is_current(layout.judged / name, evaluation_key(layout, key))


def evaluation_key(layout: Layout, key: dict[str, Any]) -> dict[str, Any]:
    """What an evaluation depends on: the predictor's own key, the rows, the settings."""
    return {
        "format": REPORT_FORMAT,
        "predictor": key,
        "data": read_splits(layout).fingerprint,
        "settings": EvaluationSettings.load().model_dump(mode="json"),
    }


def _judge(layout: Layout, name: str, predictor: Predictor, target: Path, temperature: float | None) -> None:
    from data.settings import DataSettings
    from evaluation.behavior import load_cases, run_behavior
    from evaluation.metrics import apply_temperature, confusion, fit_temperature, reliability, score
    from evaluation.slices import slice_report

    settings = EvaluationSettings.load()
    val, test = frozen_rows(layout, "val"), frozen_rows(layout, "test")
    proba_val = predict(predictor, val["text"].tolist(), f"{name}: validation rows")
    proba_test = predict(predictor, test["text"].tolist(), f"{name}: test rows")
    fitted = fit_temperature(label_ids(val), proba_val) if temperature is None else temperature
    proba_val, proba_test = apply_temperature(proba_val, fitted), apply_temperature(proba_test, fitted)
    main, main_val = primary_mask(test), primary_mask(val)
    metrics = score(label_ids(test)[main], proba_test[main], resamples=settings.bootstrap_resamples, seed=settings.seed)
    bins = zip(*reliability(label_ids(test)[main], proba_test[main]), strict=True)
    report(f"{name}: behavior")
    cases = load_cases(DataSettings.load().dir, settings)
    behavior = run_behavior(predictor, cases, temperature=fitted if temperature is None else 1.0)
    np.savez_compressed(target / "probabilities.npz", val=proba_val, test=proba_test)
    write_json(
        target / "report.json",
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
        },
    )
