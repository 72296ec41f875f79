"""The bridge from a Great Expectations result to a blocking asset check."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.layout import Layout
from orchestration.resources import Workplace

if TYPE_CHECKING:
    from data.expectations import ValidationReport


def suite_check(
    *,
    asset: str,
    name: str,
    validate: "Callable[[Layout], ValidationReport | None]",
    optional: Callable[[], bool] = lambda: False,
) -> dg.AssetChecksDefinition:
    """A check that stops everything downstream of `asset` when its suite fails.

    Args:
        asset: Name of the asset.
        name: Name of the check.
        validate: Runs the suite; None when there is nothing to check because the dataset was skipped.
        optional: Whether the run goes on without the dataset; the check then fails with severity WARN, which stops nothing.
    """

    @dg.asset_check(asset=dg.AssetKey(asset), name=name, blocking=True, description="Great Expectations suite")
    def check(context: dg.AssetCheckExecutionContext, workplace: Workplace) -> dg.AssetCheckResult:
        report = validate(workplace.layout())
        if report is None:
            return dg.AssetCheckResult(passed=True, metadata={"state": "nothing to check: the set was skipped"})
        stops = not report.success and not optional()
        return dg.AssetCheckResult(
            passed=report.success and not report.warnings,
            severity=dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN,
            metadata={"state": _state(report, stops=stops), **_metadata(report)},
        )

    return check


def _state(report: "ValidationReport", *, stops: bool) -> str:
    if report.success:
        return "used, with warnings" if report.warnings else "passed"
    return "stops the run" if stops else "left out of the splits"


def _metadata(report: "ValidationReport") -> dict[str, dg.MetadataValue]:
    failed = [*report.failures, *report.warnings]
    rows = [
        dg.TableRecord(
            {
                "expectation": outcome.expectation,
                "column": str(outcome.column or ""),
                "unexpected": int(outcome.unexpected_count or 0),
                "observed": str(outcome.observed)[:200],
                "expected": outcome.expected[:200],
                "sample": str(outcome.sample)[:500],
                "severity": outcome.severity,
            }
        )
        for outcome in failed
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "suite": dg.MetadataValue.text(report.suite),
        "expectations": dg.MetadataValue.int(len(report.outcomes)),
        "failed": dg.MetadataValue.int(len(report.failures)),
        "warnings": dg.MetadataValue.int(len(report.warnings)),
    }
    if rows:
        metadata["failures"] = dg.MetadataValue.table(rows)
    return metadata
