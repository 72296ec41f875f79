"""Folders that are complete or absent, and are rebuilt only when their inputs have changed."""

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data.errors import GroundswellError

KEY_FILE = "key.json"


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Return the hex SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def atomic_file(target: Path, error_class: type[GroundswellError] = GroundswellError) -> Generator[Path]:
    """Yield a temporary path next to `target`; rename it to `target` when the block succeeds, else remove it.

    Files that the block wrote next to it, whose names begin with the temporary one, are removed: ONNX may write weights to one.

    Raises:
        GroundswellError: The file cannot be written; of `error_class`.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise error_class(
            f"{target} cannot be written.", found=error, remedy="Free disk space or fix the permissions of the folder."
        ) from error
    finally:
        with suppress(OSError):
            for rest in target.parent.glob(f"{glob.escape(temporary.name)}*"):
                rest.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a file atomically and flushed to disk.

    Raises:
        GroundswellError: The file cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def atomic_folder(target: Path) -> Generator[Path]:
    """Yield a temporary folder next to `target`, and rename it to `target` when the block ends without an error.

    An existing `target` is replaced. After an error the temporary folder is removed, and `target` is unchanged.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise GroundswellError(
            f"{target} cannot be written.", found=error, remedy="Free disk space or fix the permissions of the folder."
        ) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_current(target: Path, key: dict[str, Any]) -> bool:
    """Return whether `target` was built from this `key`."""
    try:
        return read_json(target / KEY_FILE)["digest"] == digest(key)
    except (OSError, ValueError, KeyError):
        return False


def mark_current(target: Path, key: dict[str, Any]) -> None:
    """Record the `key` that `target` was built from; the last step of a build."""
    write_json(target / KEY_FILE, {"digest": digest(key), "key": key})


def reuse_or_build(target: Path, key: dict[str, Any], build: Callable[[Path], None]) -> bool:
    """Keep `target` if it was built from the same `key`, else rebuild it.

    Args:
        target: The folder.
        key: Everything the result depends on, as JSON: fingerprints, settings, versions of rules.
        build: Writes the content into the temporary folder it gets.

    Returns:
        True when the folder was reused.
    """
    if is_current(target, key):
        return True
    with atomic_folder(target) as folder:
        build(folder)
        mark_current(folder, key)
    return False
