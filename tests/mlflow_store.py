"""An empty MLflow store, created once a session: its hundred migrations take five seconds of CPU."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database file of a store without experiments of ours."""
    base = tmp_path_factory.getbasetemp()
    file = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "mlflow.db"
    with FileLock(f"{file}.lock"):
        if not file.is_file():
            import mlflow

            unfinished = file.with_name("unfinished.db")
            mlflow.MlflowClient(f"sqlite:///{unfinished}").search_experiments()
            unfinished.rename(file)
    return file


def copy_store(empty: Path, var: Path) -> None:
    """Let `var` begin with a copy of the empty store."""
    (var / "mlflow").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(empty, var / "mlflow" / "mlflow.db")
