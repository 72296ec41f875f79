"""Measure the production model on the newest labeled rows of its own traffic."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data.artifacts import write_json
from data.errors import LakehouseError
from data.feedback import open_feedback
from data.labels import LABEL_IDS, LABELS
from orchestration.layout import Layout
from orchestration.progress import note, report
from orchestration.retraining import RetrainingSettings
from serving.bundle import Bundle, production_bundle
from serving.lakehouse.paths import lakehouse_root
from serving.ledger import current_moves

if TYPE_CHECKING:
    import pandas as pd

NEWEST_ROWS = 2_000
"""At most this many rows, the newest."""
_COLUMNS = ["at", "true_label", "label", "origin"]


@dataclass(frozen=True)
class Measured:
    """A measurement of the production model, or the reason for none."""

    version: str
    metadata: dict[str, Any]
    """`macro_recall` with its interval, `rows`, `rows_by_origin`, `since`; or `skipped`, the reason."""

    @property
    def skipped(self) -> str | None:
        """Why nothing was measured."""
        return self.metadata.get("skipped")


def measure_production(layout: Layout) -> Measured | None:
    """Compare the production model's predictions with labels that came later, and write the report that the sensor reads.

    Only rows labeled since the promotion count, as the model was not trained on them: callers' corrections, which the model
    classifies again here, and labeled rows of Gold, which store its prediction. Callers mostly correct wrong predictions, so the
    measured recall is lower than the recall on all traffic.

    Returns:
        None where no model is in production.

    Raises:
        BundleError: The production bundle is damaged.
    """
    move = current_moves(layout.var).get("production")
    if move is None:
        return None
    bundle, since = production_bundle(layout.var), datetime.fromisoformat(move["at"])
    frame = _newest([_feedback(layout, bundle, since), _lakehouse(layout, bundle.manifest.version, since)])
    measured = _measure(frame) | {"since": since.isoformat()}
    write_json(layout.quality, {"version": bundle.manifest.version, "at": datetime.now(UTC).isoformat(), **measured})
    return Measured(bundle.manifest.version, measured)


def _measure(frame: "pd.DataFrame") -> dict[str, Any]:
    import numpy as np

    from evaluation.metrics import score_confusion

    wanted = RetrainingSettings.load().min_quality_rows
    if len(frame) < wanted:
        return {"skipped": f"{len(frame):,} rows have been labeled since the model was promoted, at least {wanted:,} are needed"}
    if missing := [label for label in LABELS if label not in set(frame["true_label"])]:
        return {"skipped": f"none of the {len(frame):,} rows labeled since the model was promoted is {' or '.join(missing)}"}
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(confusion, (frame["true_label"].map(LABEL_IDS).to_numpy(), frame["label"].map(LABEL_IDS).to_numpy()), 1)
    estimate = score_confusion(confusion)["macro_recall"]
    by_origin = {str(origin): int(rows) for origin, rows in frame["origin"].value_counts().items()}
    return {"macro_recall": estimate.to_dict(), "rows": len(frame), "rows_by_origin": by_origin}


def _newest(frames: "list[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd

    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat(filled, ignore_index=True).sort_values("at", ascending=False).head(NEWEST_ROWS)


def _feedback(layout: Layout, bundle: Bundle, since: datetime) -> "pd.DataFrame":
    """Return corrections since then, classified by the production bundle."""
    import pandas as pd

    from data.cleaning import is_blank
    from serving.classifier import Classifier

    rows = open_feedback(layout.var).rows()
    at = pd.to_datetime(rows["created_at"], utc=True, format="ISO8601")
    # Where callers disagree there are two rows of a text, and neither is the truth.
    agreed = ~rows["text"].duplicated(keep=False) & (rows["label_confidence"] > 0.5)
    usable = agreed & (at >= since) & rows["label"].isin(LABELS) & ~rows["text"].map(is_blank).astype(bool)
    rows = rows.assign(at=at)[usable].sort_values("at", ascending=False).head(NEWEST_ROWS)
    if not len(rows):
        return pd.DataFrame(columns=_COLUMNS)
    report(f"classifying {len(rows):,} corrected texts")
    domains = [one if isinstance(one, str) else None for one in rows["domain"]]
    predictions = Classifier(bundle).classify(rows["text"].tolist(), domains=domains)
    return pd.DataFrame(
        {
            "at": rows["at"].to_numpy(),
            "true_label": rows["label"].to_numpy(),
            "label": [one.label for one in predictions],
            "origin": "feedback",
        }
    )


def _lakehouse(layout: Layout, version: str, since: datetime) -> "pd.DataFrame":
    """Labeled rows of Gold that the production version predicted since then; none where there is no lakehouse."""
    import pandas as pd

    try:
        from serving.lakehouse.reading import labeled_predictions
        from serving.lakehouse.status import exists

        root = lakehouse_root(layout.var)
        if exists(root):
            report("reading labeled rows of Gold")
            return labeled_predictions(root, version, since, NEWEST_ROWS).assign(origin="lakehouse")
    except ImportError:
        pass  # the extra `lakehouse` is not installed
    except LakehouseError as error:
        note(f"The lakehouse is left out: {error.message}")
    return pd.DataFrame(columns=_COLUMNS)
