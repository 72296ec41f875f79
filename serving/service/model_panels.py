"""What the dashboard shows of the models: the leaderboard, the one that answers, and who held `production`, from files."""

from pathlib import Path
from typing import Any

from data.artifacts import read_json
from serving.bundle import read_ledger
from serving.service import panel_schemas as schemas
from serving.service.answering import Answering
from serving.settings import DashboardSettings

_NONE: dict[str, Any] = {"value": None, "low": None, "high": None}


def leaderboard(var: Path, version: str) -> schemas.Leaderboard:
    """The leaderboard of this machine.

    Args:
        var: Where it lies.
        version: Of the bundle that answers; its line is marked.
    """
    path = var / "leaderboard" / "leaderboard.json"
    try:
        rows: list[dict[str, Any]] = read_json(path)
    except (OSError, ValueError):
        return schemas.Leaderboard(missing=f"There is no leaderboard in {path.parent}: make train makes one.", rows=[])
    front = _front([(_cpu(row), row["macro_recall"]["value"]) for row in rows])
    return schemas.Leaderboard(
        missing=None, rows=[_candidate(row, index in front, row.get("version") == version) for index, row in enumerate(rows)]
    )


def production(var: Path, answering: Answering) -> schemas.Production:
    """Which bundle answers, its card, and the moves of the aliases."""
    settings = DashboardSettings.load()
    moves = [
        schemas.Move(
            at=move["at"], alias=move["alias"], from_version=move.get("from"), to_version=move.get("to"),
            bundle=Path(str(move.get("bundle", ""))).name, reason=str(move.get("reason", "")), gate=move.get("gate"),
        )
        for move in reversed(read_ledger(var))
    ]  # fmt: skip
    return schemas.Production(
        version=answering.version, card=answering.card, moves=moves, mlflow_url=settings.mlflow_url,
        dagster_url=settings.dagster_url,
    )  # fmt: skip


def _candidate(row: dict[str, Any], on_front: bool, in_production: bool) -> schemas.Candidate:
    cost = row.get("cost") or {}
    ece = schemas.Interval.model_validate(row.get("ece") or _NONE)
    return schemas.Candidate(
        name=row["candidate"], from_scratch=row["from_scratch"], rows=row["n"], macro_recall=row["macro_recall"],
        macro_f1=row["macro_f1"], accuracy=row["accuracy"], ece=ece, cpu_us_per_text=_cpu(row),
        p99_ms=cost.get("latency_p99_ms", _NONE)["value"], on_front=on_front, in_production=in_production,
        slices=[
            schemas.Slice(name=each["slice"], rows=each["n"], macro_recall=each["metrics"]["macro_recall"])
            for each in row.get("slices", [])
        ],
        confusion=row.get("confusion"), reliability=row.get("reliability"),
    )  # fmt: skip


def _cpu(row: dict[str, Any]) -> float | None:
    return (row.get("cost") or {}).get("cpu_us_per_text", _NONE)["value"]


def _front(points: list[tuple[float | None, float]]) -> set[int]:
    """Those than which no other is at most as dear and more accurate."""
    return {
        index
        for index, (cpu, recall) in enumerate(points)
        if cpu is not None
        and not any(
            c is not None and c <= cpu and r >= recall and (c, r) != (cpu, recall) for c, r in points
        )
    }  # fmt: skip
