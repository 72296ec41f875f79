"""Paths of the tables. Cheap to import: the dashboard and `status` read Gold without Spark."""

import os
from pathlib import Path
from typing import Literal

from serving.settings import LakehouseSettings

Layer = Literal["bronze", "silver", "silver_rejected", "gold"]
LAYERS: tuple[Layer, ...] = ("bronze", "silver", "silver_rejected", "gold")


def lakehouse_root(var: Path, settings: LakehouseSettings | None = None) -> str:
    """Return the folder or s3a:// URI of the tables, without a trailing slash."""
    root = (settings or LakehouseSettings.load()).root or str(var / "lakehouse")
    return root.rstrip("/") if "://" in root else str(Path(root).absolute())


def table(root: str, layer: Layer) -> str:
    """Return the path of a table."""
    return f"{root}/{layer}"


def storage_options(root: str) -> dict[str, str]:
    """Return the storage options of `deltalake`; for S3 they come from the usual AWS_* variables."""
    if "://" not in root:
        return {}
    options = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if endpoint := s3_endpoint():
        options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
    return options


def s3_endpoint() -> str | None:
    """Return the S3 endpoint that the AWS variables set, if any."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def for_deltalake(path: str) -> str:
    """Return a table's path for `deltalake`, which uses s3:// where Hadoop uses s3a://."""
    return path.replace("s3a://", "s3://", 1)
