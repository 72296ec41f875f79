"""Send the same texts through every path, compare the outcomes, and write the report."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import TypeAdapter

from data.artifacts import read_json, write_json, write_text
from data.errors import GroundswellError, SettingsError, SourceUnavailable
from data.names import unknown_name
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.serving_paths.compare import (
    TOLERANCE,
    Difference,
    PathReconciliation,
    PathReport,
    counted,
    report_path,
)
from orchestration.steps.serving_paths.in_processes import call_lambda, classify_here, predict_with_mlflow, send_to_stream
from orchestration.steps.serving_paths.lakehouse import send_to_lakehouse
from orchestration.steps.serving_paths.outcomes import Numbered
from orchestration.steps.serving_paths.over_http import send_as_jobs, send_to_bento, send_to_service
from orchestration.steps.serving_paths.request import Request, Sent, Skipped
from orchestration.steps.serving_paths.rows import choose_rows
from serving.bundle import Bundle

ROWS = 2_000
PATHS: Mapping[str, Callable[[Request], Sent]] = {
    "classify": classify_here,
    "http": send_to_service,
    "job": send_as_jobs,
    "stream": send_to_stream,
    "spark": send_to_lakehouse,
    "lambda": call_lambda,
    "mlflow": predict_with_mlflow,
    "bento": send_to_bento,
}
"""By name. The others are compared with the first one that is asked for and has outcomes."""
_REPORT, _PAGE = "report.json", "report.md"


def choose_paths(names: str | None) -> tuple[str, ...]:
    """Return the paths in a comma-separated list, in the order of `PATHS`; None: all.

    Raises:
        SettingsError: A path is unknown, or the list names fewer than two.
    """
    if names is None:
        return tuple(PATHS)
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if name not in PATHS:
            raise unknown_name(SettingsError, "path", name, tuple(PATHS))
    if len(set(asked)) < 2:
        raise SettingsError("Too few paths to compare.", found=names, expected=f"two or more of {', '.join(PATHS)}")
    return tuple(name for name in PATHS if name in asked)


def reconcile_paths(
    layout: Layout, bundle: Bundle, *, rows: int = ROWS, paths: Sequence[str] = tuple(PATHS)
) -> PathReconciliation:
    """Send texts through paths one after the other; write `report.json` and `report.md` to `var/reconciliation`. Blocks.

    Processes that a path starts end with it, on Ctrl-C too. A path that fails is reported as failed, and the next one runs.

    Args:
        layout: Where the texts are, the registered version of the bundle and its Bento, and where the report goes.
        bundle: The bundle that every path classifies with.
        rows: Number of texts.
        paths: Names of `PATHS`.

    Raises:
        DataError: There are no texts.
        GroundswellError: The report cannot be written.
    """
    report("choosing the texts")
    chosen = choose_rows(layout, rows)
    reports: list[PathReport] = []
    reference: list[Numbered] | None = None
    with tempfile.TemporaryDirectory(prefix="groundswell-paths-") as folder:
        request = Request(layout, bundle, chosen, Path(folder))
        for place, name in enumerate(paths):
            report(name, place / len(paths))
            found, sent = _run(name, request, reference)
            reports.append(found)
            reference = reference or (sent.outcomes if sent else None)
    result = PathReconciliation(
        bundle=bundle.manifest.version,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=len(chosen),
        kinds=counted(row.kind for row in chosen),
        domains=counted(row.domain for row in chosen),
        tolerance=TOLERANCE,
        paths=tuple(reports),
    )
    write_json(layout.reconciliation / _REPORT, asdict(result))
    write_text(layout.reconciliation / _PAGE, as_markdown(result))
    return result


def _run(name: str, request: Request, reference: list[Numbered] | None) -> tuple[PathReport, Sent | None]:
    """Send the texts through one path and compare its outcomes; without a reference they become it."""
    began = time.monotonic()
    try:
        sent = PATHS[name](request)
    except Skipped as reason:
        return PathReport(name, "skipped", note=str(reason)), None
    except (GroundswellError, httpx.HTTPError, OSError) as error:
        note = error.in_one_line if isinstance(error, GroundswellError) else f"{type(error).__name__}: {error}"
        return PathReport(name, "failed", note=note, seconds=round(time.monotonic() - began, 1)), None
    seconds = round(time.monotonic() - began, 1)
    against = sent.outcomes if reference is None else reference
    fields: dict[str, Any] = {"note": sent.note, "seconds": seconds, "is_reference": reference is None}
    return report_path(name, request.rows, against, sent.outcomes, **fields), sent


def read_reconciliation(layout: Layout) -> PathReconciliation:
    """Return the last report.

    Raises:
        SourceUnavailable: There is none, or it is damaged.
    """
    try:
        return TypeAdapter(PathReconciliation).validate_python(read_json(layout.reconciliation / _REPORT))
    except FileNotFoundError as error:
        raise SourceUnavailable("The serving paths were not reconciled yet.", remedy="Run `groundswell reconcile`.") from error
    except (OSError, ValueError) as error:
        file = layout.reconciliation / _REPORT
        raise SourceUnavailable(f"{file} cannot be read.", found=error, remedy="Run `groundswell reconcile` again.") from error


def as_markdown(result: PathReconciliation) -> str:
    """Return the report as a page: a table of the paths, and the listed differences."""
    lines = [
        "# Serving paths",
        "",
        f"{result.rows:,} texts through every path with {result.bundle}, {result.made_at}. Labels have to be equal, and "
        f"probabilities within {result.tolerance:g}: {'they are' if result.are_equal else 'they are not'}.",
        "",
        "| path | state | outcomes | refused | differences | largest gap | model | tiers | s | note |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in result.paths:
        models, tiers = ", ".join(path.models), ", ".join(path.tiers)
        found = (path.rows, path.refused, differences(path), f"{path.largest_gap:.6f}", models, tiers, path.seconds)
        lines.append(_table_row(path.name, path.state, *found, path.note))
    for path in result.paths:
        if path.listed:
            lines += ["", f"## {path.name}: {differences(path)}", "", "| kind | row | domain | reference | path | text |"]
            lines += ["|---|---|---|---|---|---|", *map(_line, path.listed)]
    return "\n".join(lines) + "\n"


def _line(one: Difference) -> str:
    return _table_row(one.kind, one.row, one.domain or "", one.of_reference, one.of_path, one.text)


def _table_row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def differences(path: PathReport) -> str:
    """Return the differences of a path by kind, such as `2 label, 1 missing`; `0` for none."""
    return ", ".join(f"{count:,} {kind}" for kind, count in path.differences.items()) or "0"
