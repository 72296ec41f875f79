"""Write rows to the warehouse at a steady rate, in blocks as workers do, and print when each block was written.

It is a separate process, so that slow readers do not delay it. It prints one line per block: the second of its messages, the
number of messages of that second written so far, and the time (`time.monotonic`, which all processes of the machine share).
"""

import json
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from serving.warehouse.blocks import write_block
from serving.warehouse.connect import connect

SOURCE, BLOCKS_A_SECOND = "bench", 4
TEXTS = ("Nothing loads since this morning.", "Parcel came a day early.", "When do you open on Sunday?")
_LABELS = (("negative", (0.8, 0.1, 0.1)), ("positive", (0.1, 0.1, 0.8)), ("neutral", (0.1, 0.8, 0.1)))


def write(var: Path, rate: float, topic: str) -> None:
    """Write until standard output is closed. Blocks that are late are written at once."""
    size, offset = round(rate / BLOCKS_A_SECOND), 0
    written: Counter[int] = Counter()
    began = time.monotonic()
    with connect(var, own=False) as client:
        while True:
            due = began + offset / rate
            time.sleep(max(0.0, due - time.monotonic()))
            now = datetime.now(UTC)
            rows = [_row(topic, offset + k, now) for k in range(size)]
            write_block(client, topic, rows, {0: (offset, offset + size - 1)})
            offset += size
            second = int(now.timestamp())
            written[second] += size
            print(second, written[second], time.monotonic(), flush=True)


def _row(topic: str, offset: int, now: datetime) -> bytes:
    label, probabilities = _LABELS[offset % 3]
    return json.dumps(
        {
            "topic": topic,
            "partition": 0,
            "offset": offset,
            "id": f"b{offset}",
            "text": TEXTS[offset % 3],
            "source": SOURCE,
            "created_at": None,
            "produced_at": now.isoformat(),
            "predicted_at": now.isoformat(),
            "written_at": now.isoformat(),
            "label": label,
            "confidence": 0.8,
            "probabilities": probabilities,
            "sarcasm": None,
            "tier": "base",
            "model_version": "bench",
        }
    ).encode()


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        write(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
