"""Jobs: one behind each `groundswell` command, and those that schedules and sensors start."""

from dataclasses import dataclass

import dagster as dg

from orchestration import keys

TRAIN_AND_DEPLOY = "train_and_deploy"
RETRAIN = "retrain"
TRAIN_BY_NAME = "train_by_name"
EVALUATE_BY_NAME = "evaluate_by_name"
MEASURE_PRODUCTION = "measure_production"
RECONCILE_PATHS = "reconcile_paths"
LAKEHOUSE = "lakehouse"
LAKEHOUSE_REPORTS = "lakehouse_reports"
LAKEHOUSE_MAINTENANCE = "lakehouse_maintenance"


@dataclass(frozen=True)
class Target:
    """The asset that a command brings up to date. Every asset before it is in the job too, and is reused when unchanged."""

    job: str
    asset: dg.AssetKey | None
    """None: the checkpoint of every candidate."""
    description: str


TARGETS = {
    "data": Target(
        "prepare_data",
        keys.SPLITS,
        "Fetch the enabled datasets, validate each, and split them without duplicates and leakage: `groundswell data`.",
    ),
    "train": Target("train_candidates", None, "Fine-tune every candidate, nothing more: `groundswell train --only`."),
    "benchmark": Target(
        "benchmark_candidates",
        keys.LEADERBOARD,
        "Train missing candidates, then compare all candidates on the frozen test split: `groundswell benchmark`.",
    ),
    "export": Target(
        "export_winner",
        keys.BUNDLE,
        "Export the best candidate to ONNX, quantize it, check parity, write the bundle: `groundswell export`.",
    ),
    "release": Target(
        "register_winner",
        keys.REGISTERED,
        "From labeled text to a registered version, staged if the promotion gate passes: `groundswell train`.",
    ),
    "deploy": Target(
        TRAIN_AND_DEPLOY,
        keys.DEPLOYMENT,
        "From labeled text to a deployment that serves the new model: `groundswell promote`. If the promotion gate refuses, the "
        "current model stays and the run still succeeds.",
    ),
    "transfer": Target(
        "measure_domain_transfer",
        keys.TRANSFER,
        "Train a model for each domain, and two of all, and evaluate each on every domain: `groundswell transfer`. Hours on two "
        "cores.",
    ),
    "quality": Target(
        MEASURE_PRODUCTION,
        keys.QUALITY,
        "Measure the production model on labeled text. Daily by the schedule `daily_quality`, when that is on.",
    ),
}
"""By the name that `orchestration.runs.run_assets` takes."""


def selection(target: str, candidates: list[str]) -> dg.AssetSelection:
    """Return the assets behind a command, with everything before them and all their checks."""
    asset = TARGETS[target].asset
    wanted = [asset] if asset else [keys.checkpoint(name) for name in candidates]
    return dg.AssetSelection.assets(*wanted).upstream()


def jobs(candidates: list[str], *, every: list[str], large: list[str]) -> list:
    """Return every job.

    Args:
        candidates: The candidates that the jobs train.
        every: Those on request too.
        large: The large models.
    """
    return [
        *_evaluate_by_name(large),
        *(
            dg.define_asset_job(target.job, selection(name, candidates), description=target.description)
            for name, target in TARGETS.items()
        ),
        dg.define_asset_job(
            TRAIN_BY_NAME,
            selection("train", every),
            description=(
                "Fine-tune the candidates that are selected, those on request too: `groundswell train --candidate NAME`. "
                "Without a selection it trains every candidate, for hours."
            ),
        ),
        dg.define_asset_job(
            RETRAIN,
            selection("deploy", candidates),
            description=(
                "The same as train_and_deploy, started by the sensors `new_labels` and `production_quality` or the schedule "
                "`weekly_retraining`. The sensors retry a failed run after a pause."
            ),
        ),
        dg.define_asset_job(
            RECONCILE_PATHS,
            dg.AssetSelection.assets(keys.PATH_RECONCILIATION),
            description="Send the same texts through every serving path and compare the predictions: `groundswell reconcile`.",
        ),
        dg.define_asset_job(
            LAKEHOUSE,
            dg.AssetSelection.assets(*(keys.table(layer) for layer in ("bronze", "silver", "gold"))),
            description="Bring Bronze, Silver and Gold up to date with the source, and check them.",
        ),
        dg.define_asset_job(
            LAKEHOUSE_REPORTS,
            dg.AssetSelection.assets(keys.LAKEHOUSE_QUALITY, keys.RECONCILIATION),
            description="Measure the model on labeled rows of Gold, and compare Gold with the predictions of the stream.",
        ),
        dg.define_asset_job(
            LAKEHOUSE_MAINTENANCE,
            dg.AssetSelection.assets(keys.LAKEHOUSE_MAINTENANCE),
            description="Merge small files and remove old versions of all lakehouse tables.",
        ),
    ]


def _evaluate_by_name(large: list[str]) -> list:
    """Return the job that evaluates large models; none where configs/candidates.yaml has no large model."""
    if not large:
        return []
    job = dg.define_asset_job(
        EVALUATE_BY_NAME,
        dg.AssetSelection.assets(*map(keys.large_model, large)),
        description=(
            "Ask the large models that are selected for the test rows: `groundswell benchmark --candidate NAME`. Requests cost "
            "money, up to the budget of each model; without a selection it asks all of them."
        ),
    )
    return [job]
