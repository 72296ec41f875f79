"""Labelled text: one raw asset a data set, each behind a blocking check, then the splits."""

import dagster as dg

from data.catalog import DatasetSpec, load_catalog
from data.errors import SourceUnavailable
from orchestration.assets.stepping import step
from orchestration.checks import suite_check
from orchestration.layout import Layout
from orchestration.progress import note
from orchestration.resources import Workplace
from orchestration.steps.data import build_splits, check_raw, check_splits, fetch_one, fetched_sets, is_asked_for, is_enabled

RAW = "raw_{}__texts"


def _raw_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    @dg.asset(
        name=RAW.format(spec.name),
        group_name="data",
        kinds={"parquet"},
        description=f"{spec.name}: {spec.domain}, {spec.licence}",
        metadata={"domain": spec.domain, "licence": spec.licence, "hub_id": spec.hub_id or "none"},
    )
    def raw(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        if not is_enabled(spec):
            return dg.MaterializeResult(metadata={"state": "not enabled"})
        with step(context, f"Fetch {spec.name}"):
            try:
                fetched_set = fetch_one(workplace.layout(), spec)
            except SourceUnavailable as error:
                if is_asked_for(spec):
                    raise
                note(f"skipped: {error.message}")  # the splits fail if no set is left
                return dg.MaterializeResult(metadata={"state": "skipped", "why": str(error)})
        return dg.MaterializeResult(
            metadata={
                "state": "fetched",
                "rows": fetched_set.rows,
                "origin": fetched_set.origin,
                "fingerprint": fetched_set.fingerprint,
                "notice": fetched_set.notice or "",
            },
            data_version=dg.DataVersion(fetched_set.fingerprint),
        )

    return raw


def _raw_check(spec: DatasetSpec) -> dg.AssetChecksDefinition:
    def validate(layout: Layout):
        raw = next((raw for raw in fetched_sets(layout) if raw.name == spec.name), None)
        return None if raw is None else check_raw(raw)

    return suite_check(asset=RAW.format(spec.name), name="raw_suite", validate=validate)


def _splits_asset(names: list[str]) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="data",
        kinds={"parquet"},
        deps=[RAW.format(name) for name in names],
        description="All checked sets without repeats, leaks and conflicting labels; what was removed lies beside it.",
    )
    def core_sentiment__splits(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        """Remove repeats and leaks, set conflicts aside, keep official splits."""
        layout = workplace.layout()
        with step(context, "Remove repeats and leaks, split"):
            splits = build_splits(layout, fetched_sets(layout))
        return dg.MaterializeResult(
            metadata={
                "rows": sum(splits.rows.values()),
                "rows_by_set": dg.MetadataValue.json(splits.rows),
                "removed_by_reason": dg.MetadataValue.json(splits.counts),
                "notices": "\n".join(splits.notices),
                "removed_rows": dg.MetadataValue.path(str(layout.splits / "removed.parquet")),
                "fingerprint": splits.fingerprint,
            },
            data_version=dg.DataVersion(splits.fingerprint),
        )

    return core_sentiment__splits


def data_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of this step, and their checks."""
    catalog = load_catalog()
    assets = [*(_raw_asset(spec) for spec in catalog.values()), _splits_asset(list(catalog))]
    checks = [
        *(_raw_check(spec) for spec in catalog.values()),
        suite_check(asset="core_sentiment__splits", name="split_suite", validate=check_splits),
    ]
    return assets, checks
