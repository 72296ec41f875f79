"""A document that has been read: its sections and windows, from the process that read it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from data.errors import MalformedData
from data.settings import project_root
from serving.bundle import TOKENIZER, Bundle
from serving.documents.windows import Window

MEMORY_BYTES = 1 * 2**30
"""Of the process that reads a document; one of 20 MB with inline XBRL takes about half of it."""
CPU_S = 120
"""Of that process."""
WAIT_S = 300
"""Most seconds until it has ended."""
PART_WINDOWS = 64
"""Windows that are classified together."""
_CHILD = "serving.documents.child"
DOCUMENT, WINDOWS = "document.json", "windows.jsonl"


@dataclass(frozen=True)
class Order:
    """What the process reads; see `reading.read_text`."""

    path: str
    name: str
    is_page: bool
    charset: str | None
    tokenizer: str
    max_length: int
    out: str
    """An empty folder."""


@dataclass(frozen=True)
class Source:
    """A document's file."""

    path: Path
    name: str
    """As the user knows it: of the file, or the URL."""
    is_page: bool = False
    """Whether it is known to be HTML."""
    charset: str | None = None
    """As its server declared."""


@dataclass(frozen=True)
class Document:
    """A document; its windows are in a file."""

    name: str
    form: str | None
    """Of a filing, such as 10-K."""
    language: str | None
    """None: not certain."""
    sections: list[str]
    """Titles; an empty one: the document has no sections."""
    windows: int
    file: Path

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows, in order."""
        with self.file.open(encoding="utf-8") as lines:
            for line in lines:
                yield Window(**json.loads(line))

    def parts(self) -> Iterator[list[Window]]:
        """Yield the windows in parts that are classified together, in order."""
        windows = iter(self)
        while part := list(islice(windows, PART_WINDOWS)):
            yield part


@contextmanager
def parse(source: Source, bundle: Bundle) -> Generator[Document]:
    """Read a document for the model of a bundle; its windows exist within the block. Blocks, for at most `WAIT_S`.

    Raises:
        MalformedData: It cannot be read; within memory and time, too.
    """
    with tempfile.TemporaryDirectory(prefix="groundswell-") as folder:
        order = Order(
            str(source.path.resolve()),
            source.name,
            source.is_page,
            source.charset,
            str((bundle.directory / TOKENIZER).resolve()),
            bundle.manifest.max_length,
            folder,
        )
        _run(order)
        found = json.loads((Path(folder) / DOCUMENT).read_text(encoding="utf-8"))
        if message := found.pop("message", None):
            raise MalformedData(message, **found)
        yield Document(source.name, file=Path(folder) / WINDOWS, **found)


def _run(order: Order) -> None:
    # -P: a module in the user's folder must not replace one of ours. One thread is enough, and each more reserves memory.
    command = [sys.executable, "-P", "-m", _CHILD, json.dumps(asdict(order))]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(project_root())}
    null = subprocess.DEVNULL
    try:
        done = subprocess.run(command, env=environment, timeout=WAIT_S, check=False, stdin=null, stdout=null, stderr=null)
    except subprocess.TimeoutExpired:
        raise too_much(order.name, f"more than {WAIT_S} s") from None
    if done.returncode == -signal.SIGXCPU:
        raise too_much(order.name, f"more than {CPU_S} s of CPU time")
    if done.returncode:
        raise too_much(order.name, f"the reading process ended with status {done.returncode}")


def too_much(name: str, found: str) -> MalformedData:
    """Return the error for a document that takes more than the process that reads it may use."""
    return MalformedData(
        f"{name} could not be read.",
        found=found,
        expected=f"a document that is read with {MEMORY_BYTES // 2**20:,} MiB of memory and {CPU_S} s of CPU time",
        remedy="Open it in a browser and save its text as plain text.",
    )
