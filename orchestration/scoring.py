"""Answers from a bundle on the command line: a few texts, or a file of any size."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from orchestration.layout import Layout
from orchestration.progress import TerminalProgress

if TYPE_CHECKING:
    from serving.classifier import Classifier


def open_classifier(bundle: Path | None, *, threads: int | None = None) -> "Classifier":
    """The classifier of a bundle folder, or of the production bundle.

    Raises:
        BundleError: There is none, or it is damaged.
    """
    from serving.bundle import production_bundle, read_bundle
    from serving.classifier import Classifier

    return Classifier(read_bundle(bundle) if bundle else production_bundle(Layout.load().var), threads=threads)


def score_labelled_file(
    file: Path, *, text_column: str, label_column: str | None, bundle: Path | None, out: Path | None, console: Console | None
) -> dict[str, Any]:  # fmt: skip
    """Classify a file and, with labels, measure.

    Returns:
        One row: `candidate`, `rows`, `skipped`, `texts_per_s`, and with labels each metric as `{value, low, high}`.
    """
    from serving.score import score_file

    classifier = open_classifier(bundle)

    def run(progress: Any) -> Any:
        return score_file(file, classifier, text_column=text_column, label_column=label_column, out=out, progress=progress)

    if console is None:
        result = run(None)
    else:
        with TerminalProgress(console) as terminal:
            terminal.begin(f"Score {file.name}")
            result = run(terminal)
    row: dict[str, Any] = {
        "candidate": classifier.name,
        "rows": result.rows,
        "skipped": dict(result.skipped),
        "texts_per_s": round(result.rows / result.seconds, 1) if result.seconds else None,
        "cpu_us_per_text": round(1e6 * result.cpu_s / result.rows, 1) if result.rows else None,
        "predicted": dict(result.predicted),
    }
    if label_column is not None:
        from evaluation.metrics import score_confusion

        row |= {name: estimate.to_dict() for name, estimate in score_confusion(result.confusion).items()}
    return row


def as_table(row: dict[str, Any]) -> Table:
    """One scored file, for a terminal."""
    table = Table("", "", title=row["candidate"], box=None, show_header=False, title_justify="left")
    for name, value in row.items():
        if name == "candidate" or value is None or value == {}:
            continue
        if isinstance(value, dict) and "low" in value:
            if value["value"] is None:
                continue
            shown = f"{100 * value['value']:.2f}  [{100 * value['low']:.2f}, {100 * value['high']:.2f}]"
        elif isinstance(value, dict):
            shown = ", ".join(f"{key} {count:,}" for key, count in value.items())
        else:
            shown = f"{value:,}"
        table.add_row(name.replace("_", " "), shown)
    return table
