"""Spark on this machine, and the source of its records."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from data.errors import SettingsError
from orchestration.layout import Layout
from orchestration.local.jars import require_java, spark_jars
from serving.lakehouse.paths import lakehouse_root
from serving.settings import LakehouseSettings

if TYPE_CHECKING:
    from serving.lakehouse.run import Lakehouse


@contextmanager
def lakehouse(console: Console | None = None, **settings: Any) -> Iterator["Lakehouse"]:
    """Open a lakehouse: create missing tables and start a Spark session, which ends with the block. Takes about ten seconds.

    Args:
        console: Prints a line while Spark starts.
        settings: Overrides of the environment's settings.

    Raises:
        LakehouseError: Existing tables have other columns, or the root is not reachable.
        StreamError: Java or the jars are missing.
    """
    require_java()
    from serving.lakehouse.errors import translate_spark_errors
    from serving.lakehouse.run import Lakehouse
    from serving.lakehouse.session import open_session
    from serving.lakehouse.tables import ensure_tables

    given = LakehouseSettings.load(**settings)
    root = lakehouse_root(Layout.load().var, given)
    if console:
        console.print(f"Starting Spark; the tables are in {root} …", style="dim", highlight=False)
    jars = spark_jars()
    with translate_spark_errors(root):
        spark = open_session(given, jars)
        try:
            ensure_tables(spark, root)
            yield Lakehouse(spark, root, given)
        finally:
            spark.stop()


def require_source(settings: LakehouseSettings) -> str:
    """Return the source of the settings after cheap checks.

    Raises:
        SettingsError: No source is set, or its folder does not exist.
    """
    from serving.lakehouse.run import local_source

    if not settings.source:
        raise SettingsError(
            "No source of records is set.",
            expected="a folder, an s3a:// URI, or kafka",
            remedy="groundswell lakehouse run --source <...>, or GROUNDSWELL_LAKEHOUSE__SOURCE.",
        )
    source = local_source(settings.source)
    if source != "kafka" and "://" not in source and not Path(source).is_dir():
        raise SettingsError(
            f"Folder {source} does not exist.", expected="a folder with files of JSON lines", remedy="Check --source."
        )
    return source
