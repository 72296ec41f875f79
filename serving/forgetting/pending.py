"""What is asked to be forgotten and not done in every store yet: one small file for each call, in `var/forget/`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from data.artifacts import digest, read_json, write_json
from data.forgetting import Request


def add(var: Path, requests: Sequence[Request]) -> Path | None:
    """Write requests down; they are on the disk when this returns. The same requests are written once. None: there are none.

    Raises:
        GroundswellError: The file cannot be written.
    """
    if not requests:
        return None
    rows = [[one.kind, one.value, one.reason, one.requested_at.isoformat()] for one in requests]
    path = _folder(var) / f"{digest(rows)[:32]}.json"
    if not path.exists():
        write_json(path, rows)
    return path


def read(var: Path) -> tuple[list[Request], list[Path]]:
    """Return all requests, each once, and the files that hold them."""
    files = sorted(_folder(var).glob("*.json"))
    found: dict[tuple[str, str], Request] = {}
    for file in files:
        for kind, value, reason, at in read_json(file):
            request = Request(kind, value, reason, datetime.fromisoformat(at).astimezone(UTC))
            known = found.get((kind, value))
            if known is None or known.requested_at < request.requested_at:
                found[kind, value] = request
    return list(found.values()), files


def remove(files: Iterable[Path]) -> None:
    """Remove files whose requests are done."""
    for file in files:
        file.unlink(missing_ok=True)


def _folder(var: Path) -> Path:
    return var / "forget"
