"""A bundle to a Bento: the service, the two folders it imports, and the bundle itself, in BentoML's local store."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from data.errors import DeploymentFailed
from data.settings import project_root
from serving.bundle import read_bundle

BENTO_NAME = "sentiment"
PACKAGES = [
    "numpy", "onnxruntime", "tokenizers", "pydantic", "pydantic-settings", "pyyaml", "prometheus-client", "bentoml", "boto3",
    "cachetools", "clickhouse-connect", "filelock", "limits", "opentelemetry-exporter-otlp-proto-http", "redis", "structlog",
    "tenacity",
]  # fmt: skip
"""What the service's image holds, in the versions that are installed here; no torch, no transformers."""
_TIMEOUT_S = 300


def build_bento(bundle_dir: Path, bentoml_home: Path) -> str:
    """Build the Bento of a bundle; one that was built before is kept.

    Args:
        bundle_dir: A bundle; it is verified.
        bentoml_home: BentoML's store.

    Returns:
        The tag, `sentiment:<bundle version>`.

    Raises:
        BundleError: The bundle is damaged.
        DeploymentFailed: BentoML could not build; carries the end of what it said.
    """
    bundle = read_bundle(bundle_dir)
    version = bundle.manifest.version.lower()
    tag = f"{BENTO_NAME}:{version}"
    if (bentoml_home / "bentos" / BENTO_NAME / version / "bento.yaml").is_file():
        return tag
    with tempfile.TemporaryDirectory(prefix="groundswell-bento-") as scratch:
        context = Path(scratch)
        for folder in ("data", "serving"):
            shutil.copytree(
                project_root() / folder,
                context / folder,
                ignore=shutil.ignore_patterns("__pycache__", "samples", "node_modules", "dashboard"),
            )
        shutil.copytree(project_root() / "configs", context / "configs")
        shutil.copytree(bundle_dir, context / "bundle")
        (context / "bentofile.yaml").write_text(_bentofile(), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--version", version, "--quiet", str(context)],
            env=bento_environment(bentoml_home) | {"GROUNDSWELL_BUNDLE_DIR": str(context / "bundle")},
            cwd=context,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    if run.returncode:
        raise DeploymentFailed("The Bento could not be built.", found=(run.stderr or run.stdout).strip()[-1500:])
    return tag


def bento_environment(bentoml_home: Path) -> dict[str, str]:
    """The environment of a BentoML process: this one, the store, no telemetry."""
    quiet = {"BENTOML_HOME": str(bentoml_home.resolve()), "BENTOML_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1"}
    return {**os.environ, **quiet}


def _bentofile() -> str:
    from importlib.metadata import version

    import yaml

    return yaml.safe_dump(
        {
            "service": "serving.service.service:Sentiment",
            "include": ["data/**", "serving/**", "configs/**", "bundle/**"],
            "exclude": ["**/__pycache__/**"],
            "python": {"packages": [f"{name}=={version(name)}" for name in PACKAGES], "lock_packages": False},
        }
    )
