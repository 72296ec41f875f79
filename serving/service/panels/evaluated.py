"""Compare the predictions of two models on the frozen test rows, and list the errors of one.

The pipeline writes `<name>/` below `var/` and `FOLDER`: `report.json` (measures and slices) and `predictions.json` (columns).
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.artifacts import read_json
from data.labels import LABELS
from serving.service import problems
from serving.service.panels import model_schemas as schemas
from serving.service.panels.models import same_rows
from serving.service.problems import Refused

FOLDER, PREDICTIONS, REPORT = "evaluations", "predictions.json", "report.json"
SHOWN = 20
_RESAMPLES = 2_000
_MEASURES = (
    "macro_recall",
    "macro_f1",
    "accuracy",
    "recall_negative",
    "recall_neutral",
    "recall_positive",
    "ece",
)


@dataclass(frozen=True)
class Predicted:
    """A test row and its prediction."""

    id: str
    text: str
    source: str
    label: str
    predicted: str
    confidence: float


def evaluated_list(var: Path, version: str) -> schemas.EvaluatedList:
    """List the models that can be compared: the production bundle, other bundles, candidates; the best of each first.

    Args:
        var: Folder of the state, with the evaluated models in `FOLDER`.
        version: Version of the served bundle.
    """
    rows = []
    for path in sorted((var / FOLDER).glob(f"*/{PREDICTIONS}")):
        name = path.parent.name
        bundle = name.removeprefix("bundle-")
        title = f"{bundle}{_quantization(var, bundle)}" if name != bundle else name
        recall = read_json(path.with_name(REPORT))["metrics"]["macro_recall"]["value"]
        row = schemas.Evaluated(name=name, title=title, in_production=name == f"bundle-{version}")
        rows.append((not row.in_production, name == bundle, -recall, row))
    missing = None if rows else f"No predictions in {var / FOLDER}; `groundswell benchmark` writes them."
    return schemas.EvaluatedList(missing=missing, rows=[row for *_, row in sorted(rows, key=lambda each: each[:3])])


def comparison(var: Path, left: str, right: str) -> schemas.Comparison:
    """Compare two models on the rows that both predicted.

    Raises:
        Refused: One of them has no predictions.
    """
    ours, theirs = _predictions(var, right), {row.id: row for row in _predictions(var, left)}
    pairs = [(theirs[row.id], row) for row in ours if row.id in theirs]
    reports = [read_json(_folder(var, name) / REPORT) for name in (left, right)]
    changed = [(old, new) for old, new in pairs if old.predicted != new.predicted]
    changes = Counter(_change(old, new) for old, new in changed)
    differences = _differences(pairs)
    return schemas.Comparison(
        left=left,
        right=right,
        rows=len(pairs),
        changed=len(changed),
        corrected=changes["corrected"],
        broken=changes["broken"],
        measures=[
            schemas.MeasureCompared(
                name=name, left=reports[0]["metrics"][name], right=reports[1]["metrics"][name], difference=differences.get(name)
            )
            for name in _MEASURES
            if all(name in report["metrics"] for report in reports)
        ],
        slices=_slices(*reports),
        examples=_examples(changed),
    )


def errors(var: Path, name: str, label: schemas.Label, predicted: schemas.Label) -> schemas.Errors:
    """List the texts of one cell of the confusion matrix: true label and predicted label.

    Raises:
        Refused: The model has no predictions.
    """
    cell = [row for row in _predictions(var, name) if row.label == label and row.predicted == predicted]
    cell.sort(key=lambda row: (-row.confidence, row.id))
    return schemas.Errors(
        name=name,
        label=label,
        predicted=predicted,
        rows=len(cell),
        examples=[schemas.WrongPrediction(text=row.text, source=row.source, confidence=row.confidence) for row in cell[:SHOWN]],
    )


def _folder(var: Path, name: str) -> Path:
    known = [path.parent for path in (var / FOLDER).glob(f"*/{PREDICTIONS}")]  # a name is looked up, never joined to a path
    folder = next((folder for folder in known if folder.name == name), None)
    if folder is None:
        names = ", ".join(sorted(folder.name for folder in known)) or "none; `groundswell benchmark` writes them"
        raise Refused(problems.NOT_FOUND, f"Predictions of {name[:100]!r} not found; there are: {names}.")
    return folder


def _predictions(var: Path, name: str) -> tuple[Predicted, ...]:
    path = _folder(var, name) / PREDICTIONS
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _changed_ns: int) -> tuple[Predicted, ...]:
    columns: dict[str, list[Any]] = read_json(path)
    names = ("ids", "texts", "sources", "labels", "predicted", "confidence")
    return tuple(Predicted(*row) for row in zip(*(columns[each] for each in names), strict=True))


def _quantization(var: Path, version: str) -> str:
    try:
        return f" ({read_json(var / 'bundles' / version / 'bundle.json')['quantization']})"
    except (OSError, ValueError, KeyError):
        return ""


def _change(old: Predicted, new: Predicted) -> str:
    if new.predicted == new.label:
        return "corrected"
    return "broken" if old.predicted == old.label else "wrong both times"


def _examples(changed: list[tuple[Predicted, Predicted]]) -> list[schemas.ChangedPrediction]:
    kept: Counter[str] = Counter()
    shown = []
    for old, new in sorted(changed, key=lambda pair: (-pair[1].confidence, pair[1].id)):
        change = _change(old, new)
        kept[change] += 1
        if kept[change] <= SHOWN:
            shown.append(
                schemas.ChangedPrediction.model_validate(
                    {
                        "text": new.text,
                        "source": new.source,
                        "label": new.label,
                        "left": old.predicted,
                        "right": new.predicted,
                        "right_confidence": new.confidence,
                        "change": change,
                    }
                )
            )
    return shown


def _slices(left: dict[str, Any], right: dict[str, Any]) -> list[schemas.SliceCompared]:
    """Slices of the same size in both reports; slices of the same rows are merged."""
    others = {each["slice"]: each for each in right.get("slices", [])}
    slices: dict[Any, schemas.SliceCompared] = {}
    for mine in left.get("slices", []):
        other = others.get(mine["slice"])
        if not other or other["n"] != mine["n"] or not (mine["metrics"] and other["metrics"]):
            continue
        same = same_rows(mine), same_rows(other)
        if same in slices:
            slices[same].names.append(mine["slice"])
        else:
            recalls = {"left": mine["metrics"]["macro_recall"], "right": other["metrics"]["macro_recall"]}
            slices[same] = schemas.SliceCompared.model_validate({"names": [mine["slice"]], "rows": mine["n"], **recalls})
    return list(slices.values())


def _differences(pairs: list[tuple[Predicted, Predicted]]) -> dict[str, schemas.Interval]:
    """Right minus left, with the 95 % interval of a bootstrap over the rows.

    Rows count only by (true label, left, right): resampling the 27 counts is resampling the rows.
    """
    if not pairs:
        return {}
    index = {label: at for at, label in enumerate(LABELS)}
    counts = np.zeros((3, 3, 3))
    for old, new in pairs:
        counts[index[new.label], index[old.predicted], index[new.predicted]] += 1
    drawn = np.random.default_rng(0).multinomial(len(pairs), counts.ravel() / len(pairs), size=_RESAMPLES)
    differences = {}
    occurring = [f"recall_{label}" for label in LABELS if counts[index[label]].any()]
    for name in ("macro_recall", "accuracy", *occurring):
        value = _difference(name, counts[None])[0]
        samples = _difference(name, drawn.reshape(-1, 3, 3, 3))
        low, high = np.nanpercentile(samples, [2.5, 97.5])
        if np.isfinite([value, low, high]).all():
            differences[name] = schemas.Interval(
                value=round(float(value), 6), low=round(float(low), 6), high=round(float(high), 6)
            )
    return differences


def _difference(name: str, counts: np.ndarray) -> np.ndarray:
    """Difference of a measure for K tables of counts, shape (K, true, left, right); shape (K,)."""
    totals = counts.sum(axis=(2, 3))
    right = np.stack([counts[:, label, :, label].sum(axis=1) for label in range(3)], axis=1)
    left = np.stack([counts[:, label, label, :].sum(axis=1) for label in range(3)], axis=1)
    gained = right - left
    if name == "accuracy":
        return gained.sum(axis=1) / totals.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.where(totals > 0, gained / totals, np.nan)
    if name == "macro_recall":
        return np.nanmean(recalls, axis=1)
    return recalls[:, LABELS.index(name.removeprefix("recall_"))]
