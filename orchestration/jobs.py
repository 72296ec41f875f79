"""What is started as one: the jobs a person, a sensor or the clock asks for, and the part of the graph behind each command."""

import dagster as dg

TRAIN_AND_DEPLOY = "train_and_deploy"
RETRAIN = "retrain"
LAKEHOUSE = "lakehouse"
LAKEHOUSE_REPORTS = "lakehouse_reports"
LAKEHOUSE_MAINTENANCE = "lakehouse_maintenance"

TARGETS = {
    "data": ["core_sentiment__splits"],
    "train": ["model_{candidate}__checkpoint"],
    "benchmark": ["report_benchmark__leaderboard"],
    "export": ["model_sentiment__bundle"],
    "release": ["registry_sentiment__version"],
    "deploy": ["service_sentiment__deployment"],
    "quality": ["report_production__quality"],
}
"""The assets a command asks for; everything before them comes along, and is reused when unchanged."""


def selection(target: str, candidates: list[str]) -> dg.AssetSelection:
    """The assets behind a command, with all that lies before them and all their checks."""
    names = [name.format(candidate=c) for name in TARGETS[target] for c in (candidates if "{" in name else [""])]
    return dg.AssetSelection.assets(*[name.replace("-", "_") for name in names]).upstream()


def jobs(candidates: list[str]) -> list:
    """Every job."""
    everything = selection("deploy", candidates)
    return [
        dg.define_asset_job(TRAIN_AND_DEPLOY, everything, description="Labelled text in, a model that answers out."),
        dg.define_asset_job(
            RETRAIN, everything,
            description=(
                "The same again, started by sensors and the clock; trained, not better and so not promoted is a normal end. A "
                "failed run is tried again by the sensors, after a pause."
            ),
        ),
        dg.define_asset_job(
            LAKEHOUSE, dg.AssetSelection.assets("lake_bronze__records", "lake_silver__messages", "lake_gold__predictions"),
            description="Bronze, Silver and Gold brought up to what the source has now, and checked.",
        ),
        dg.define_asset_job(
            LAKEHOUSE_REPORTS, dg.AssetSelection.assets("report_lake__quality", "report_lake__reconciliation"),
            description="What the lakehouse says of the model, and of the stream's answers.",
        ),
        dg.define_asset_job(
            LAKEHOUSE_MAINTENANCE, dg.AssetSelection.assets("lake_tables__maintenance"),
            description="Small files merged, old versions removed.",
        ),
        *(dg.define_asset_job(f"command_{target}", selection(target, candidates)) for target in TARGETS),
    ]  # fmt: skip
