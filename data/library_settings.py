"""Settings of libraries that they read only from the environment of their own process.

This is the only module that writes `os.environ`; a test looks for others. Groundswell's own settings are passed as arguments,
and to another process as its environment. A variable that is set already keeps its value, unless a function states otherwise.
"""

import logging
import os


def quiet_mlflow() -> None:
    """Turn off MLflow's usage statistics, progress bars and informational logs; call it before MLflow is imported."""
    _set_defaults(
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        MLFLOW_LOGGING_LEVEL="ERROR",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    )
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def quiet_great_expectations() -> None:
    """Turn off its usage statistics; it reads this when it is imported."""
    _set_defaults(GX_ANALYTICS_ENABLED="false")


def quiet_transformers() -> None:
    """Log errors only, which it reads when it is imported; and no warning of the tokenizers about forked processes."""
    _set_defaults(TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")


def limit_tokenizer_threads(threads: int) -> None:
    """Set the size of the tokenizer's thread pool; has an effect only before its first batch."""
    _set_defaults(RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")


def use_python_in_spark(executable: str) -> None:
    """Start Spark's Python workers with this interpreter, not with the `python3` of the PATH."""
    _set_defaults(PYSPARK_PYTHON=executable)


def use_local_address_in_spark() -> None:
    """Make a Spark of this machine listen on 127.0.0.1; the launcher of its JVM reads this."""
    _set_defaults(SPARK_LOCAL_IP="127.0.0.1")


def keep_prometheus_in_memory() -> None:
    """Remove the folder for metrics of several processes, which `prometheus_client` reads when it is imported.

    BentoML sets it. The service's processes would die of these files on a full disk; see `serving.service.counters`.
    """
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def _set_defaults(**variables: str) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)
