"""The four tables: their columns, and the check that an existing table has them."""

from typing import TYPE_CHECKING, cast

from data.errors import LakehouseError
from serving.lakehouse.errors import translate_spark_errors
from serving.lakehouse.locks import table_commit_lock
from serving.lakehouse.paths import Layer, table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COPY = "STRUCT<edit: INT, stated_at: TIMESTAMP, arrived_at: TIMESTAMP, origin: STRING, block: BIGINT, line: BIGINT, item: INT>"
"""The order of a message's copies: of two copies the greater one wins, compared from left to right.

`edit` is the number of earlier edits that the record names. `stated_at` is the time of the author's last change (edited_at,
updated_at, else created_at), `arrived_at` the file's modification time or the broker's timestamp, `origin` the file or topic,
`block` and `line` the position in it: for Kafka partition and offset; for a file the first byte of the split and a number that
increases within the split. `item` is the position in a record of many messages, null for the first: a table's rows whose `item`
is null are as many as their records.
"""
PREDICTION = (
    "STRUCT<label: STRING, confidence: DOUBLE, negative: DOUBLE, neutral: DOUBLE, positive: DOUBLE, sarcasm: DOUBLE, "
    "predicted_at: TIMESTAMP>"
)
_EDITS = "first_id STRING, replaces ARRAY<STRING>, is_share BOOLEAN"
"""`id` is the newest edit's; `first_id`, equal to it for a message without edits, is the key of Silver and Gold."""
_TWEET = (
    "source STRING, created_at TIMESTAMP, event_at TIMESTAMP, event_date DATE, lang STRING, user_id STRING, "
    f"mentions ARRAY<STRING>, hashtags ARRAY<STRING>, true_label STRING, copy {COPY}"
)
COLUMNS: dict[Layer, str] = {
    # `record` is a map: a new field is readable from its first record on, and no stream has to be restarted.
    "bronze": "raw STRING, rescued BINARY, record MAP<STRING, STRING>, source_file STRING, topic STRING, partition INT, "
    "offset BIGINT, arrived_at TIMESTAMP, block BIGINT, line BIGINT, ingested_at TIMESTAMP",
    "silver": f"id STRING, {_EDITS}, text STRING, cleaned STRING, {_TWEET}",
    "silver_rejected": f"reason STRING, id STRING, raw STRING, rescued BINARY, copy {COPY}, rejected_at TIMESTAMP",
    "gold": f"id STRING, {_EDITS}, text STRING, {_TWEET}, label STRING, confidence DOUBLE, negative DOUBLE, neutral DOUBLE, "
    f"positive DOUBLE, sarcasm DOUBLE, model_version STRING, predicted_at TIMESTAMP, answers MAP<STRING, {PREDICTION}>",
}
_PARTITIONED: dict[Layer, str] = {"gold": "event_date"}
_PROPERTIES = {
    # Gold reads Silver's change feed.
    "delta.enableChangeDataFeed": {"silver": "true"},
    # A commit that leaves many small files compacts them at once.
    "delta.autoOptimize.autoCompact": dict.fromkeys(COLUMNS, "true"),
}


def ensure_tables(spark: "SparkSession", root: str) -> None:
    """Create the missing tables and check the others. Blocks for some seconds the first time.

    Raises:
        LakehouseError: A table has other columns (another program or another version of Groundswell wrote it), or the location is
            not reachable.
    """
    with translate_spark_errors(root):
        for layer, columns in COLUMNS.items():
            _ensure(spark, table(root, layer), layer, columns)


def _ensure(spark: "SparkSession", path: str, layer: Layer, columns: str) -> None:
    from delta.tables import DeltaTable
    from pyspark.sql.types import StructType

    expected = cast(StructType, StructType.fromDDL(columns))
    if not DeltaTable.isDeltaTable(spark, path):
        making = DeltaTable.createIfNotExists(spark).location(path).addColumns(expected)
        if layer in _PARTITIONED:
            making = making.partitionedBy(_PARTITIONED[layer])
        for name, by_layer in _PROPERTIES.items():
            if layer in by_layer:
                making = making.property(name, by_layer[layer])
        with table_commit_lock(path):
            making.execute()
        return
    found = {field.name: field.dataType for field in spark.read.format("delta").load(path).schema}
    wrong = [field.name for field in expected if found.get(field.name) != field.dataType]
    if wrong:
        raise LakehouseError(
            f"The Delta table {path} is not Groundswell's {layer}.",
            found=", ".join(f"{name} {found[name].simpleString() if name in found else 'missing'}" for name in wrong[:5]),
            expected=", ".join(f"{name} {expected[name].dataType.simpleString()}" for name in wrong[:5]),
            remedy="Set another GROUNDSWELL_LAKEHOUSE__ROOT, or move that table away. Nothing was written to it.",
        )
