"""Open the bytes of a file: plain, gzip or ZIP, bounded in size; and the lines of a text, bounded in length."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from data.errors import MalformedData, SourceUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TEXT_KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
SUFFIXES = ".csv, .tsv, .txt, .jsonl, .ndjson, .json (each also .gz, or alone in a .zip), .parquet or .xlsx"
MAX_LINE_CHARS = 64 * 2**20
MAX_EXPANSION, ALWAYS_ALLOWED = 200, 2**30
"""A compressed file may expand to 200 times its size, or to 1 GiB: what expands to more was made to exhaust a machine."""
_MAGIC = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "ZIP or XLSX", b"PAR1": "Parquet"}


@dataclass(frozen=True)
class StoredFile:
    """A file on disk, how it is packed, and what its content is by its name."""

    path: Path
    kind: str
    """Suffix of the content in lower case, such as `.csv`."""
    packing: str = ""
    """gzip, zip, or empty."""
    member: str = ""
    """Name within a ZIP file."""


def locate(path: Path) -> StoredFile:
    """Return what a file holds by its name; upper and lower case are equal.

    Raises:
        SourceUnavailable: The file does not exist.
        MalformedData: The suffix is unknown, or a ZIP file holds no file or several.
    """
    if not path.is_file():
        raise SourceUnavailable(f"File {path} not found.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    if last == ".gz":
        found = StoredFile(path, suffixes[-2] if len(suffixes) > 1 else "", "gzip")
    elif last == ".zip":
        member = _only_member(path)
        found = StoredFile(path, Path(member).suffix.lower(), "zip", member)
    else:
        found = StoredFile(path, last)
    if found.kind not in (TEXT_KINDS if found.packing else (*TEXT_KINDS, ".parquet", ".xlsx")):
        raise MalformedData(
            f"{path} cannot be read.", found=found.member or "".join(path.suffixes) or "no suffix", expected=SUFFIXES
        )
    return found


def _only_member(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not _is_litter(name)]
    except zipfile.BadZipFile as error:
        raise corrupt(path, error, "a complete ZIP file") from error
    if len(names) != 1:
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
        raise MalformedData(f"{path} does not hold one file.", found=listed or "nothing", remedy="Unpack it and name one file.")
    return names[0]


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in {".DS_Store", "Thumbs.db", "desktop.ini"}


def corrupt(path: Path, error: object, expected: str) -> MalformedData:
    """Return the error for a file that ends too soon or was damaged."""
    return MalformedData(f"{path} is truncated or corrupt.", found=error, expected=expected, remedy="Copy it again.")


class _Bounded(io.RawIOBase):
    """The expanded bytes of a compressed file; raises where they are more than it may expand to."""

    def __init__(self, source: BinaryIO, file: StoredFile) -> None:
        self._source, self._path = source, file.path
        self._left = max(ALWAYS_ALLOWED, MAX_EXPANSION * file.path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        data = self._source.read(len(view))
        self._left -= len(data)
        if self._left < 0:
            raise MalformedData(
                f"{self._path} expands to more than {MAX_EXPANSION} times its size.",
                expected=f"at most {MAX_EXPANSION} times, or 1 GiB",
                remedy="If it is as large as that, unpack it first.",
            )
        view[: len(data)] = data
        return len(data)


@contextmanager
def open_bytes(file: StoredFile) -> Generator[tuple[BinaryIO, Callable[[], float]]]:
    """Open the unpacked bytes of a text file; the second value returns the share that was read, 0 to 1.

    Raises:
        MalformedData: The file cannot be read, is truncated, corrupt or encrypted, or expands to too much.
    """
    size = max(file.path.stat().st_size, 1)
    try:
        with file.path.open("rb") as raw:
            share = lambda: min(raw.tell() / size, 1.0)  # noqa: E731
            if file.packing == "gzip":
                yield io.BufferedReader(_Bounded(cast(BinaryIO, gzip.GzipFile(fileobj=raw)), file), 2**18), share
            elif file.packing == "zip":
                with zipfile.ZipFile(raw) as archive, _member(archive, file) as member:
                    yield io.BufferedReader(_Bounded(member, file), 2**18), share
            else:
                yield raw, share
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise corrupt(file.path, error, f"a complete {'ZIP' if file.packing == 'zip' else 'gzip'} file") from error
    except OSError as error:
        raise MalformedData(f"{file.path} cannot be read.", found=error) from error


def _member(archive: zipfile.ZipFile, file: StoredFile) -> BinaryIO:
    try:
        return cast(BinaryIO, archive.open(file.member))
    except (RuntimeError, NotImplementedError) as error:  # zipfile: a password is required; a compression that it lacks
        found, expected = error, "a ZIP file that is not encrypted, compressed by deflate, bzip2 or LZMA"
        raise MalformedData(f"{file.path} cannot be read.", found=found, expected=expected, remedy="Unpack it.") from error


def require_text(file: StoredFile, start: bytes) -> None:
    """Require that a file does not begin as a binary format does.

    Raises:
        MalformedData: It does; the error names the format.
    """
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            raise MalformedData(f"{file.path} is not text.", found=name, expected=file.kind, remedy="Rename it to its format.")


@contextmanager
def decoded(path: Path, binary: BinaryIO, encoding: str, newline: str | None = None) -> Generator[io.TextIOWrapper]:
    """Decode a file's bytes; the binary file stays open. Half an emoji in bytes becomes a lone surrogate, and costs nothing else.

    Raises:
        MalformedData: The bytes are not of the encoding.
    """
    text = io.TextIOWrapper(binary, encoding=encoding, errors="surrogatepass", newline=newline)
    try:
        yield text
    except UnicodeError as error:
        remedy = "Set its encoding, or convert it, such as with iconv."
        raise MalformedData(f"{path} is not {encoding.upper()}.", found=error, remedy=remedy) from error
    finally:
        with suppress(ValueError):  # the binary file was closed first: the reader of the lines stopped early
            text.detach()


def lines_of(file: StoredFile, binary: BinaryIO, encoding: str) -> Iterator[str]:
    r"""Yield the lines of a text with their ends (`\n`, `\r` or `\r\n`).

    Raises:
        MalformedData: A line is too long to be one, or its bytes are not of the encoding.
    """
    number = 0
    with decoded(file.path, binary, encoding, newline="") as text:
        while line := text.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) == MAX_LINE_CHARS and line[-1] not in "\r\n":
                found = f"line {number:,} has over {MAX_LINE_CHARS:,} characters"
                raise MalformedData(f"{file.path} is not a table.", found=found)
            yield line
