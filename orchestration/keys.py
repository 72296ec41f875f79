"""The key of every asset: the folder whose code makes it, then its name. No other module spells them."""

from dagster import AssetKey

ORIGIN = AssetKey(["data", "origin"])
SPLITS = AssetKey(["data", "splits"])
LEADERBOARD = AssetKey(["evaluation", "leaderboard"])
TRANSFER = AssetKey(["evaluation", "domain_transfer"])
BUNDLE = AssetKey(["training", "bundle"])
GATE = AssetKey(["evaluation", "gate"])
REGISTERED = AssetKey(["training", "registered_version"])
BENTO = AssetKey(["serving", "bento"])
DEPLOYMENT = AssetKey(["serving", "deployment"])
PATH_RECONCILIATION = AssetKey(["serving", "path_reconciliation"])
QUALITY = AssetKey(["evaluation", "production_quality"])
LAKEHOUSE_MAINTENANCE = AssetKey(["lakehouse", "maintenance"])
LAKEHOUSE_QUALITY = AssetKey(["lakehouse", "quality"])
RECONCILIATION = AssetKey(["lakehouse", "reconciliation"])


def dataset(name: str) -> AssetKey:
    """Return the validated rows of a dataset of configs/datasets.yaml."""
    return AssetKey(["data", _part(name), "validated"])


def checkpoint(name: str) -> AssetKey:
    """Return the checkpoint of a candidate of configs/candidates.yaml."""
    return AssetKey(["training", _part(name), "checkpoint"])


def large_model(name: str) -> AssetKey:
    """Return the evaluation of a large model of configs/candidates.yaml."""
    return AssetKey(["evaluation", _part(name), "large_model"])


def table(layer: str) -> AssetKey:
    """Return a table of the lakehouse: bronze, silver or gold."""
    return AssetKey(["lakehouse", layer])


def _part(name: str) -> str:
    return name.replace("-", "_")  # step names, which Dagster makes of keys, may hold no hyphen
