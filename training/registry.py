"""The registered model `sentiment`: versions, the aliases `staging`, `production`, `previous`, and the ledger of every move.

A move is written to the ledger first and to MLflow second. The ledger is append-only and is what serving reads; when a crash
falls between the two, `reconcile` sets MLflow to the state of the ledger.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import RegistryError
from data.labels import LABELS
from data.library_settings import quiet_mlflow
from serving.bundle import Bundle, read_bundle
from serving.ledger import append_move, current_moves
from training.tracking import MODEL_NAME, Tracking

ALIASES = ("staging", "production", "previous")
_PYFUNC = Path(__file__).resolve().parent.parent / "serving" / "pyfunc_model.py"
_ROOT = _PYFUNC.parent.parent
_PACKAGES = [
    "emoji",
    "numpy",
    "onnxruntime",
    "pandas",
    "pydantic",
    "pydantic-settings",
    "pyyaml",
    "regex",
    "selectolax",
    "tokenizers",
]
"""What a classifier imports. Listed here: inferring them would import everything, which takes ten seconds."""
_EXAMPLE = [
    "The new update is great, well done!",
    "My parcel is three weeks late and support does not reply.",
    "The shop opens at nine.",
]
_MODEL_TAGS = {"task": "text-classification", "language": "en", "labels": "negative, neutral, positive"}
_DESCRIPTION = """Sentiment of short English texts: negative, neutral or positive.

Alias `production` is what the API, the stream and the lakehouse serve, `staging` has passed the promotion gate and is deployed
next, `previous` is what `groundswell rollback` returns to. Each version is one bundle; its description is the model card.

    import mlflow
    model = mlflow.pyfunc.load_model("models:/sentiment@production")
    model.predict([{"text": "The new update is great, well done!"}])
"""


class Registry:
    """Versions and aliases of one `var/` folder."""

    def __init__(self, var: Path, tracking: Tracking) -> None:
        self.var, self.tracking, self.client = var, tracking, tracking.client

    def register(
        self,
        bundle: Bundle,
        *,
        parent_run: Callable[[], str],
        tags: dict[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> str:
        """Register a bundle; the same bundle keeps the version it has.

        Args:
            bundle: The bundle; its card becomes the description of the version.
            parent_run: Returns the MLflow run of the bundle; a nested run stores the artifact. Called only for a new version.
            tags: Additional tags of the version.
            metrics: Metrics of the bundle, logged with the model.

        Returns:
            The version, such as "3".
        """
        if (known := self.version_of(bundle)) is not None:
            self._tag(known, tags or {})
            return known
        manifest = bundle.manifest
        with self.tracking.nested_run(parent_run(), f"bundle {manifest.version}") as run:
            info = self._log_model(bundle)
            self.tracking.log_params(
                run,
                {
                    "bundle": manifest.version,
                    "quantization": manifest.quantization,
                    "max_length": manifest.max_length,
                    "temperature": manifest.temperature,
                    "data_fingerprint": manifest.data_fingerprint,
                },
            )
            self.tracking.log_metrics(run, metrics or {}, model_id=info.model_id)
        self._ensure_model()
        made = self.client.create_model_version(
            MODEL_NAME,
            info.model_uri,
            run_id=info.run_id,
            model_id=info.model_id,
            description=(bundle.directory / "card.md").read_text(encoding="utf-8"),
        )
        version = str(made.version)
        # As `mlflow.register_model` does, which prints: the page of the logged model links to the version by it.
        self.client.set_logged_model_tags(
            info.model_id, {"mlflow.modelVersions": json.dumps([{"name": MODEL_NAME, "version": version}])}
        )
        self._tag(
            version,
            {
                "bundle": manifest.version,
                "fingerprint": bundle.fingerprint,
                "quantization": manifest.quantization,
                "data_fingerprint": manifest.data_fingerprint,
                **(tags or {}),
            },
        )
        return version

    def _log_model(self, bundle: Bundle) -> Any:
        import mlflow.pyfunc

        with tempfile.TemporaryDirectory() as code:
            return mlflow.pyfunc.log_model(name="bundle", **_model(bundle, Path(code)))  # pyright: ignore[reportUnknownMemberType]

    def _ensure_model(self) -> None:
        try:
            self.client.get_registered_model(MODEL_NAME)
        except Exception:  # mlflow raises one class for every failure; the create below reports the cause
            self.client.create_registered_model(MODEL_NAME, tags=_MODEL_TAGS, description=_DESCRIPTION)

    def version_of(self, bundle: Bundle) -> str | None:
        """Return the version under which a bundle is registered, or None."""
        versions = self.client.search_model_versions(f"name = '{MODEL_NAME}' and tag.fingerprint = '{bundle.fingerprint}'")
        return str(max(int(version.version) for version in versions)) if versions else None

    def alias(self, alias: str) -> dict[str, Any] | None:
        """Return the last ledger entry of an alias, or None if the alias points nowhere."""
        return current_moves(self.var).get(alias)

    def move(self, alias: str, version: str, bundle: str, *, reason: str, gate: str = "none", data_fingerprint: str = "") -> None:
        """Point an alias to a version, in the ledger and in MLflow.

        Args:
            alias: staging, production or previous.
            version: A registered version.
            bundle: Its folder, relative to `var`.
            reason: Why, for readers of the ledger.
            gate: passed, refused or none.
            data_fingerprint: Of the data it was trained on.

        Raises:
            RegistryError: The alias is unknown.
        """
        if alias not in ALIASES:
            raise RegistryError(f"Unknown alias {alias!r}.", expected=", ".join(ALIASES))
        before = self.alias(alias)
        append_move(
            self.var,
            {
                "at": datetime.now(UTC).isoformat(),
                "alias": alias,
                "from": before["to"] if before else None,
                "to": version,
                "bundle": bundle,
                "reason": reason,
                "gate": gate,
                "data_fingerprint": data_fingerprint,
            },
        )
        self.client.set_registered_model_alias(MODEL_NAME, alias, version)

    def promote(self, *, reason: str) -> str:
        """Move `production` to the staged version and `previous` to the version before. Returns the version.

        Raises:
            RegistryError: No version is staged.
        """
        staged = self.alias("staging")
        if staged is None:
            raise RegistryError("No version is staged.", remedy="`groundswell train` stages a version that passes the gate.")
        current = self.alias("production")
        if current and current["to"] == staged["to"]:
            return staged["to"]
        if current:
            self._copy("previous", current, reason=f"was production until: {reason}")
        self._copy("production", staged, reason=reason)
        return staged["to"]

    def rollback(self, *, reason: str) -> str:
        """Swap `production` and `previous`; a second call undoes the first. Returns the version.

        Raises:
            RegistryError: There is no previous version.
            BundleError: The previous bundle is corrupt or missing; no alias moves.
        """
        previous, current = self.previous(), self.alias("production")
        assert current is not None
        read_bundle(self.var / previous["bundle"])
        self._copy("production", previous, reason=reason)
        self._copy("previous", current, reason=f"was production until: {reason}")
        return previous["to"]

    def previous(self) -> dict[str, Any]:
        """Return the ledger entry that a rollback would return to.

        Raises:
            RegistryError: There is no previous version.
        """
        current, previous = self.alias("production"), self.alias("previous")
        if current is None or previous is None or previous["to"] == current["to"]:
            aliases = {"production": current and current["to"], "previous": previous and previous["to"]}
            raise RegistryError("There is no version to go back to.", found=aliases)
        return previous

    def reconcile(self) -> list[str]:
        """Set the aliases in MLflow to the state of the ledger; returns those that moved."""
        moved: list[str] = []
        for alias in ALIASES:
            entry = self.alias(alias)
            if entry is None:
                continue
            try:
                current = str(self.client.get_model_version_by_alias(MODEL_NAME, alias).version)
            except Exception:  # mlflow has no class for "no such alias"
                current = None
            if current != entry["to"]:
                self.client.set_registered_model_alias(MODEL_NAME, alias, entry["to"])
                moved.append(alias)
        return moved

    def _copy(self, alias: str, entry: dict[str, Any], *, reason: str) -> None:
        self.move(
            alias,
            entry["to"],
            entry["bundle"],
            reason=reason,
            gate=entry["gate"],
            data_fingerprint=entry["data_fingerprint"],
        )

    def _tag(self, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(MODEL_NAME, version, key, value)


def save_model(bundle: Bundle, folder: Path) -> None:
    """Write the MLflow model of a bundle to a new folder, as it is in the registry, without a registry."""
    quiet_mlflow()
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as code:
        mlflow.pyfunc.save_model(str(folder), **_model(bundle, Path(code)))  # pyright: ignore[reportUnknownMemberType]


def _model(bundle: Bundle, code: Path) -> dict[str, Any]:
    """Return the parts of a bundle's MLflow model; its code is copied to the folder `code`."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    numbers = ("confidence", *LABELS, *(["sarcasm"] if bundle.manifest.sarcasm else []))
    signature = ModelSignature(
        # MLflow drops columns that are not in the signature: without `domain` the head `general` would decide on every text.
        inputs=Schema([ColSpec(DataType.string, "text"), ColSpec(DataType.string, "domain", required=False)]),
        outputs=Schema(
            [
                ColSpec(DataType.string, "label"),
                *(ColSpec(DataType.double, name) for name in numbers),
                ColSpec(DataType.string, "error"),
            ]
        ),
    )
    return {
        "python_model": str(_PYFUNC),
        "artifacts": {"bundle": str(bundle.directory)},
        "code_paths": _copy_code(code),
        "pip_requirements": _PACKAGES,
        "signature": signature,
        "input_example": pd.DataFrame({"text": _EXAMPLE}),
    }


def _copy_code(folder: Path) -> list[str]:
    """Copy the modules that a classifier needs, and return their folders. All of `serving/` includes the dashboard's packages."""
    for pattern in ("data/**/*.py", "serving/*.py", "serving/engines/*.py"):
        for file in _ROOT.glob(pattern):
            target = folder / file.relative_to(_ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return [str(folder / "data"), str(folder / "serving")]
