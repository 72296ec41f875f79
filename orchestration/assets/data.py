"""Labeled text: one asset for each dataset that is fetched and validated, then the splits."""

import os
from collections.abc import Iterator

import dagster as dg

from data.catalog import DatasetSpec, load_catalog
from orchestration import keys
from orchestration.assets.schema import labeled_text_columns, stored, table
from orchestration.assets.stepping import OWNERS, asset_after, step
from orchestration.checks import check_failed, failure_rows, suite_check, suite_result
from orchestration.progress import ended, note
from orchestration.resources import VarDirResource
from orchestration.steps.data import (
    LeftOut,
    build_splits,
    check_splits,
    choose_origin,
    describe,
    fetch_one,
    is_enabled,
    is_required,
    raw_texts,
    require_training_rows,
    validate,
)

_GROUP = "data"
SUITE = "raw_suite"


@dg.asset(
    key=keys.ORIGIN,
    group_name=_GROUP,
    kinds={"python"},
    owners=OWNERS,
    tags={"use": "training"},
    description=(
        "Which texts a run uses: a data folder, else the hub when it is reachable, else the project's own small sample. Every "
        "dataset after it reads this decision."
    ),
)
def origin(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Decide once a run."""
    with step(context, "Choose the texts"):
        chosen = choose_origin(var_dir.layout())
        note(chosen.text, warning=chosen.is_sample)
    return dg.MaterializeResult(metadata={"texts": chosen.text, "datasets": ", ".join(chosen.sets)})


def _dataset(spec: DatasetSpec) -> dg.AssetsDefinition:
    key = keys.dataset(spec.name)
    source = "callers' feedback" if spec.feedback else "shipped sample" if spec.sample else "for training" if spec.train else ""

    @dg.multi_asset(
        name=key.to_python_identifier(),
        specs=[
            dg.AssetSpec(
                key,
                deps=[keys.ORIGIN],
                skippable=True,
                group_name=_GROUP,
                kinds={"parquet", "huggingface"} if spec.hub else {"parquet"},
                owners=OWNERS,
                tags={"domain": spec.domain, "use": "training" if spec.train else "evaluation"},
                description=(
                    f"Rows of the dataset `{spec.name}`{f' ({source})' if source else ''}, fetched and validated. License: "
                    f"{spec.license}. Not materialized while the dataset is not enabled, not available or not valid; the log "
                    "has the reason. See configs/datasets.yaml."
                ),
                metadata={**labeled_text_columns(), "license": spec.license, "hub_id": spec.hub_id or "none"},
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                SUITE,
                asset=key,
                description=(
                    "Great Expectations suite: columns, types, labels, nulls, lengths, class balance, ids, row counts. A dataset "
                    "that fails is left out; the primary dataset, or one asked for by name, stops the run."
                ),
            )
        ],
        can_subset=True,  # so that it may end without a check result
    )
    def fetch_and_validate(
        context: dg.AssetExecutionContext, var_dir: VarDirResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        layout = var_dir.layout()
        if not is_enabled(layout, spec):
            context.log.info(f"{spec.name} is not enabled: see GROUNDSWELL_DATA__DATASETS and configs/datasets.yaml.")
            return
        must_have = is_required(spec)
        with step(context, f"Fetch {spec.name}", retry=_may_pass, wait_s=5):
            raw = fetch_one(layout, spec)
            if isinstance(raw, LeftOut):
                ended("skipped" if raw.absent else "left out", raw.why)  # the splits fail if no dataset is left
                return
            report = validate(raw)
            severity = dg.AssetCheckSeverity.ERROR if must_have else dg.AssetCheckSeverity.WARN
            yield suite_result(report, SUITE, asset=key, severity=severity)
            if not report.success:
                if must_have:
                    raise check_failed(key, SUITE, failure_rows(report))
                ended("left out", describe(report))
                return
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                **stored(raw.path, raw.rows),
                "rows": float(raw.rows),
                "origin": raw.origin,
                "fingerprint": raw.fingerprint,
            },
            data_version=dg.DataVersion(raw.fingerprint),
        )

    return fetch_and_validate


def _may_pass(error: Exception) -> bool:
    """Return whether a retry may help: an unreachable hub may be back in seconds, a missing dataset or wrong checksum is not."""
    return isinstance(error.__cause__, OSError) and not os.environ.get("HF_HUB_OFFLINE")


def _splits(names: list[str]) -> dg.AssetsDefinition:
    @asset_after(
        key=keys.SPLITS,
        deps=[keys.dataset(name) for name in names],
        group_name=_GROUP,
        kinds={"parquet"},
        owners=OWNERS,
        tags={"use": "training"},
        description=(
            "The rows of all validated datasets without duplicates, leakage and label conflicts, split into train, val and test. "
            "Published test splits are never changed. Removed rows are stored in a file of their own, each with its reason."
        ),
        metadata=labeled_text_columns(),
    )
    def split(context: dg.OpExecutionContext, var_dir: VarDirResource) -> Iterator[dg.Output]:
        layout = var_dir.layout()
        with step(context, "Remove duplicates and leakage, split"):
            splits = build_splits(layout, raw_texts(layout))
            require_training_rows(layout)
        by_dataset = [
            {"dataset": name, **{part: splits.rows.get(f"{name}/{part}", 0) for part in ("train", "val", "test")}}
            for name in sorted({key.split("/")[0] for key in splits.rows})
        ]
        removed = {reason: count for reason, count in splits.counts.items() if not reason.endswith("_kept")}
        rows = sum(splits.rows.values())
        yield dg.Output(
            None,
            metadata={
                **stored(layout.splits / "texts.parquet", rows),
                "rows": float(rows),
                "removed_rows": float(sum(removed.values())),
                "rows_by_dataset": table(by_dataset),
                "removed_by_reason": table([{"reason": reason, "rows": count} for reason, count in removed.items()]),
                "removed": dg.MetadataValue.path(str(layout.splits / "removed.parquet")),
                "notices": "\n".join(splits.notices),
                "reading": "\n".join(splits.reading),
                "fingerprint": splits.fingerprint,
            },
            data_version=dg.DataVersion(splits.fingerprint),
        )

    return split


def data_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Return the assets of this step, and their checks."""
    catalog = load_catalog()
    checks = [
        suite_check(
            asset=keys.SPLITS,
            name="split_suite",
            description="Great Expectations suite: no id, text or group of near-duplicates in two splits; classes in each split.",
            validate=check_splits,
        )
    ]
    return [origin, *(_dataset(spec) for spec in catalog.values()), _splits(list(catalog))], checks
