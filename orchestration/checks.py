"""The bridge from a Great Expectations result to a blocking asset check."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.layout import Layout
from orchestration.resources import Workplace

if TYPE_CHECKING:
    from data.expectations import ValidationReport


def suite_check(*, asset: str, name: str, validate: "Callable[[Layout], ValidationReport | None]") -> dg.AssetChecksDefinition:
    """A check that stops everything behind `asset` when its suite says no.

    Args:
        asset: Name of the asset.
        name: Name of the check.
        validate: Runs the suite; None when there is nothing to check because the set was skipped.
    """

    @dg.asset_check(asset=dg.AssetKey(asset), name=name, blocking=True, description="Great Expectations suite")
    def check(context: dg.AssetCheckExecutionContext, workplace: Workplace) -> dg.AssetCheckResult:
        report = validate(workplace.layout())
        if report is None:
            return dg.AssetCheckResult(passed=True, metadata={"state": "nothing to check: the set was skipped"})
        return dg.AssetCheckResult(passed=report.success, metadata=_metadata(report))

    return check


def _metadata(report: "ValidationReport") -> dict[str, dg.MetadataValue]:
    failed = [outcome for outcome in report.outcomes if not outcome.success]
    rows = [
        dg.TableRecord(
            {
                "expectation": outcome.expectation,
                "column": str(outcome.column or ""),
                "unexpected": int(outcome.unexpected_count or 0),
                "observed": str(outcome.observed)[:200],
                "expected": outcome.expected[:200],
                "sample": str(outcome.sample)[:500],
            }
        )
        for outcome in failed
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "suite": dg.MetadataValue.text(report.suite),
        "expectations": dg.MetadataValue.int(len(report.outcomes)),
        "failed": dg.MetadataValue.int(len(failed)),
    }
    if rows:
        metadata["failures"] = dg.MetadataValue.table(rows)
    return metadata
