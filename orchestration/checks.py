"""Turn a Great Expectations result into a Dagster asset check, its metadata, and the error that ends a run."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

from data.errors import ValidationFailed
from orchestration.layout import Layout
from orchestration.resources import VarDirResource

if TYPE_CHECKING:
    from data.expectations import ValidationReport


def suite_check(
    *, asset: dg.AssetKey, name: str, description: str, validate: "Callable[[Layout], ValidationReport | None]"
) -> dg.AssetChecksDefinition:
    """Make a check that stops everything after `asset` when its suite fails.

    Args:
        asset: Key of the checked asset.
        name: Name of the check.
        description: Shown in Dagster.
        validate: Runs the suite. Returns None when there are no rows to check; the check is then shown as skipped.
    """

    @dg.multi_asset_check(
        name=f"{asset.to_python_identifier()}__{name}",
        specs=[dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description)],
        can_subset=True,  # so that it may end without a result
    )
    def check(var_dir: VarDirResource) -> Iterator[dg.AssetCheckResult]:
        report = validate(var_dir.layout())
        if report is not None:
            yield suite_result(report, name, asset=asset)

    return check


def suite_result(
    report: "ValidationReport", name: str, *, asset: dg.AssetKey, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """Return the report as the result of an asset check."""
    metadata: dict[str, dg.MetadataValue] = {
        "suite": dg.MetadataValue.text(report.suite),
        "expectations": dg.MetadataValue.int(len(report.outcomes)),
        "failed": dg.MetadataValue.int(len(report.failures)),
        "warnings": dg.MetadataValue.int(len(report.warnings)),
    }
    if rows := failure_rows(report):
        metadata["failures"] = dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])
    return dg.AssetCheckResult(
        passed=report.success and not report.warnings,
        check_name=name,
        asset_key=asset,
        severity=dg.AssetCheckSeverity.WARN if report.success else severity,
        metadata=metadata,
    )


def failure_rows(report: "ValidationReport") -> list[dict[str, str | int]]:
    """Return one row for each expectation that failed or warns."""
    return [
        {
            "expectation": outcome.expectation,
            "column": str(outcome.column or ""),
            "unexpected": int(outcome.unexpected_count or 0),
            "observed": str(outcome.observed)[:200],
            "expected": outcome.expected[:200],
            "sample": str(outcome.sample)[:500],
            "severity": outcome.severity,
        }
        for outcome in (*report.failures, *report.warnings)
    ]


def check_failed(asset: dg.AssetKey, name: str, rows: list[dict[str, str | int]]) -> ValidationFailed:
    """Return the error of a failed suite, made of its `failure_rows`."""
    found = "; ".join(
        f"{row['expectation']}({row['column']}): {row['unexpected']} rows, observed {row['observed']}, "
        f"expected {row['expected'] or 'none'}, such as {row['sample']}"
        for row in rows
    )
    return ValidationFailed(
        f"Check {name!r} of {asset.to_user_string()} failed; nothing after it ran.",
        found=found,
        remedy="Fix the data, or the mapping of the dataset in configs/datasets.yaml.",
    )
