"""The registry's ledger, `registry/ledger.jsonl`: one line for each move of an alias, appended and never changed.

Each move has `at`, `alias`, `from`, `to`, `bundle` (its folder, relative to `var`), `reason`, `gate` and `data_fingerprint`.
"""

import json
import os
from pathlib import Path
from typing import Any

from data.errors import BundleError

Move = dict[str, Any]


def ledger_path(var: Path) -> Path:
    """Return the file."""
    return var / "registry" / "ledger.jsonl"


def read_ledger(var: Path) -> list[Move]:
    """Read every move, oldest first; an incomplete last line, left by a crash, is ignored.

    Raises:
        BundleError: A line cannot be read.
    """
    try:
        lines = ledger_path(var).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    moves = []
    for number, line in enumerate(lines):
        if not line:
            continue
        try:
            moves.append(json.loads(line))
        except ValueError as error:
            if number >= len(lines) - 1:
                break
            raise BundleError(f"{ledger_path(var)} is damaged in line {number + 1}.", found=line[:80]) from error
    return moves


def current_moves(var: Path) -> dict[str, Move]:
    """Return the last move of each alias that points to a version, by alias.

    Raises:
        BundleError: A line of the ledger cannot be read.
    """
    return {alias: move for alias, move in {move["alias"]: move for move in read_ledger(var)}.items() if move.get("to")}


def append_move(var: Path, move: Move) -> None:
    """Append one line, flushed to disk before this returns. Removes an incomplete last line that a crash left."""
    path = ledger_path(var)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
        file.write(json.dumps(move).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
