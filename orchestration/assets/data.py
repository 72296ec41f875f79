"""Labeled text: which texts are used, one raw asset a dataset with its check, then the splits."""

import dagster as dg

from data.catalog import DatasetSpec, load_catalog
from orchestration.assets.stepping import step
from orchestration.checks import suite_check
from orchestration.layout import Layout
from orchestration.progress import ended, note
from orchestration.resources import Workplace
from orchestration.steps.data import (
    LeftOut,
    build_splits,
    check_splits,
    choose_origin,
    describe,
    fetch_one,
    is_enabled,
    is_required,
    raw_set,
    raw_texts,
    require_training_rows,
    validate,
)

RAW = "raw_{}__texts"
ORIGIN = "core_texts__origin"


@dg.asset(
    name=ORIGIN,
    group_name="data",
    kinds={"python"},
    description="Which texts this run uses: a data folder, the hub when it answers, or the project's own small sample.",
)
def origin_asset(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
    """Decide once a run; every dataset behind it reads the decision."""
    with step(context, "Choose the texts"):
        origin = choose_origin(workplace.layout())
        note(origin.text, warning=origin.is_sample)
    return dg.MaterializeResult(metadata={"texts": origin.text, "datasets": ", ".join(origin.sets)})


def _raw_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    @dg.asset(
        name=RAW.format(spec.name),
        group_name="data",
        kinds={"parquet"},
        deps=[ORIGIN],
        description=f"{spec.name}: {spec.domain}, {spec.licence}",
        metadata={"domain": spec.domain, "licence": spec.licence, "hub_id": spec.hub_id or "none"},
    )
    def raw(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        layout = workplace.layout()
        if not is_enabled(layout, spec):
            return dg.MaterializeResult(metadata={"state": "not enabled"})
        with step(context, f"Fetch {spec.name}"):
            fetched_set = fetch_one(layout, spec)
            if isinstance(fetched_set, LeftOut):
                ended("skipped" if fetched_set.absent else "left out", fetched_set.why)
                return dg.MaterializeResult(metadata={"state": "skipped", "why": fetched_set.why})
        return dg.MaterializeResult(
            metadata={
                "state": "fetched",
                "rows": fetched_set.rows,
                "origin": fetched_set.origin,
                "fingerprint": fetched_set.fingerprint,
            },
            data_version=dg.DataVersion(fetched_set.fingerprint),
        )

    return raw


def _raw_check(spec: DatasetSpec) -> dg.AssetChecksDefinition:
    def run_suite(layout: Layout):
        raw = raw_set(layout, spec) if is_enabled(layout, spec) else None
        if raw is None or isinstance(raw, LeftOut):
            return None
        report = validate(raw)
        if not report.success and not is_required(spec):
            note(f"{spec.name} is left out: {describe(report)}")
        return report

    name = RAW.format(spec.name)
    return suite_check(asset=name, name="raw_suite", validate=run_suite, optional=lambda: not is_required(spec))


def _splits_asset(names: list[str]) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="data",
        kinds={"parquet"},
        deps=[RAW.format(name) for name in names],
        description="The checked datasets without duplicates, leakage and label conflicts; removed rows have a reason.",
    )
    def core_sentiment__splits(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        """Remove duplicates, leakage and label conflicts; keep official splits."""
        layout = workplace.layout()
        with step(context, "Remove duplicates and leakage, split"):
            splits = build_splits(layout, raw_texts(layout))
            require_training_rows(layout)
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
    assets = [origin_asset, *(_raw_asset(spec) for spec in catalog.values()), _splits_asset(list(catalog))]
    checks = [
        *(_raw_check(spec) for spec in catalog.values()),
        suite_check(asset="core_sentiment__splits", name="split_suite", validate=check_splits),
    ]
    return assets, checks
