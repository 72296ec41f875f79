"""The counts of the layers, on tables that no Spark wrote."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from serving.lakehouse.status import read_status

COPY = pa.struct([("line", pa.int64()), ("item", pa.int32())])
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("rejected", "behind"), [([None, 2], 0), ([2], 1)])
def test_page_is_one_record_however_many_messages_it_holds(tmp_path, rejected, behind):
    def write(layer, items, **columns):
        copies = pa.array([{"line": number, "item": item} for number, item in enumerate(items)], COPY)
        write_deltalake(str(tmp_path / layer), pa.table({"copy": copies, **columns}))

    # A page of three and a record that is rejected.
    write("bronze", [None, None])
    write("silver", [None, 1])
    write("silver_rejected", rejected, reason=pa.array(["no id"] * len(rejected)))
    write("gold", [None, 1], model_version=pa.array(["m", "m"]), event_at=pa.array([AT, AT]))
    status = read_status(str(tmp_path))
    assert (status.rows("bronze"), status.rows("silver"), status.behind_silver, status.behind_gold) == (2, 2, behind, 0)
