"""Where the tables are. Importing it is cheap: the dashboard and `status` read Gold without Spark."""

import os
from pathlib import Path
from typing import Literal

from serving.settings import LakehouseSettings

Layer = Literal["bronze", "silver", "silver_rejected", "gold"]
LAYERS: tuple[Layer, ...] = ("bronze", "silver", "silver_rejected", "gold")


def root_of(var: Path, settings: LakehouseSettings | None = None) -> str:
    """The folder or s3a:// URI that holds the tables, without a slash at its end."""
    root = (settings or LakehouseSettings.load()).root or str(var / "lakehouse")
    return root.rstrip("/") if "://" in root else str(Path(root).absolute())


def table(root: str, layer: Layer) -> str:
    """A table's place."""
    return f"{root}/{layer}"


def storage_options(root: str) -> dict[str, str]:
    """What `deltalake` needs to reach the tables; for S3 the same AWS_* variables that every AWS program reads."""
    if "://" not in root:
        return {}
    options = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if endpoint := s3_endpoint():
        options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http://")).lower()}
    return options


def s3_endpoint() -> str | None:
    """Another address for S3, as the AWS programs take it from the environment."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def for_deltalake(path: str) -> str:
    """A table's place as `deltalake` spells it: s3 where Hadoop says s3a."""
    return path.replace("s3a://", "s3://", 1)
