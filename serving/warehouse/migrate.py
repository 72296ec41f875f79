"""The schema: `migrations/NNNN_<what>.sql` in order, each with its `.down.sql`."""

from pathlib import Path
from typing import Any

from data.errors import WarehouseError

_FOLDER = Path(__file__).parent / "migrations"


def pending(client: Any) -> list[Path]:
    """Return the migrations that were not applied, oldest first.

    Raises:
        WarehouseError: The warehouse has a migration that this version does not know.
    """
    client.command("CREATE TABLE IF NOT EXISTS migrations (name String, applied_at DateTime) ENGINE = MergeTree ORDER BY name")
    done = {row[0] for row in client.query("SELECT name FROM migrations").result_rows}
    known = sorted(path for path in _FOLDER.glob("*.sql") if not path.name.endswith(".down.sql"))
    if unknown := done - {path.stem for path in known}:
        raise WarehouseError(
            "The warehouse was made by a later version.",
            found=", ".join(sorted(unknown)),
            remedy="Update Groundswell, or name another folder.",
        )
    return [path for path in known if path.stem not in done]


def migrate(client: Any) -> list[str]:
    """Apply the pending migrations; return their names."""
    applied = []
    for path in pending(client):
        _run(client, path)
        client.command(f"INSERT INTO migrations VALUES ('{path.stem}', now())")
        applied.append(path.stem)
    return applied


def roll_back(client: Any) -> str | None:
    """Undo the newest migration; return its name, or None when there is none."""
    rows = client.query("SELECT max(name) FROM migrations").result_rows
    name = rows[0][0] if rows else ""
    if not name:
        return None
    _run(client, _FOLDER / f"{name}.down.sql")
    client.command(f"ALTER TABLE migrations DELETE WHERE name = '{name}' SETTINGS mutations_sync = 1")
    return name


def _run(client: Any, path: Path) -> None:
    """Run the statements one after the other. ClickHouse has no transactions for them, so a file should be safe to repeat."""
    for statement in path.read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            client.command(statement)
