"""The dashboard's model panels, from files: the leaderboard, production and its alias history, the last gate decision."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.artifacts import read_json
from data.pareto import pareto_front
from data.settings import CostSettings
from serving.ledger import read_ledger
from serving.service.inference import InferenceService
from serving.service.panels import model_schemas as schemas
from serving.settings import DashboardSettings

_NONE: dict[str, Any] = {"value": None, "low": None, "high": None}


def leaderboard(var: Path, version: str) -> schemas.Leaderboard:
    """Read the leaderboard of this machine.

    Args:
        var: Folder with `leaderboard/`.
        version: Version of the served bundle, whose row is marked.
    """
    path = var / "leaderboard" / "leaderboard.json"
    try:
        rows: list[dict[str, Any]] = read_json(path)
    except (OSError, ValueError):
        return schemas.Leaderboard(missing=f"No leaderboard in {path.parent}; `make train` makes one.", rows=[])
    front = set(pareto_front([(_cpu(row), row["macro_recall"]["value"]) for row in rows]))
    return schemas.Leaderboard(
        missing=None,
        rows=[
            _candidate(row, index in front, version if row.get("version") == version else None) for index, row in enumerate(rows)
        ],
    )


def production(var: Path, inference: InferenceService) -> schemas.Production:
    """Describe the served bundle: its version, its card, and the moves of the aliases."""
    settings = DashboardSettings.load()
    moves = [
        schemas.Move(
            at=move["at"],
            alias=move["alias"],
            from_version=move.get("from"),
            to_version=move.get("to"),
            bundle=Path(str(move.get("bundle", ""))).name,
            reason=str(move.get("reason", "")),
            gate=move.get("gate"),
        )
        for move in reversed(read_ledger(var))
    ]
    return schemas.Production(
        version=inference.version,
        card=inference.card,
        moves=moves,
        mlflow_url=settings.mlflow_url,
        dagster_url=settings.dagster_url,
    )


def gate(var: Path) -> schemas.Gate:
    """Read the last decision of the promotion gate: each rule with its limit and the value found."""
    path = var / "gate" / "decision.json"
    try:
        decision = read_json(path)
        decided_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError):
        return schemas.Gate(
            missing=f"No gate decision in {path.parent}; `groundswell promote` makes one.",
            passed=None,
            bundle=None,
            unchanged=False,
            decided_at=None,
            rules=[],
        )
    return schemas.Gate(
        missing=None,
        passed=decision["passed"],
        bundle=decision.get("bundle"),
        unchanged=bool(decision.get("unchanged")),
        decided_at=decided_at,
        rules=[schemas.Rule.model_validate({**_RULE, **reason}) for reason in decision.get("reasons", [])],
    )


_RULE: dict[str, Any] = {"found": None, "limit": None, "text": ""}


def _candidate(row: dict[str, Any], on_front: bool, version: str | None) -> schemas.Candidate:
    """Make a row of the panel.

    Args:
        row: A row of `leaderboard.json`.
        on_front: Whether it is Pareto-optimal.
        version: Version of the served bundle, if this is its row.
    """
    cost, large, cpu = row.get("cost") or {}, row.get("large_model"), _cpu(row)
    own_usd = None if cpu is None else CostSettings.load().per_million(cpu)
    ece = schemas.Interval.model_validate(row.get("ece") or _NONE)
    return schemas.Candidate(
        name=row["candidate"],
        evaluated=f"bundle-{version}" if version else row["candidate"],
        from_scratch=row["from_scratch"],
        rows=row["n"],
        macro_recall=row["macro_recall"],
        macro_f1=row["macro_f1"],
        accuracy=row["accuracy"],
        ece=ece,
        cpu_us_per_text=cpu,
        usd_per_million=large["usd_per_million"] if large else own_usd,
        large_model=bool(large),
        p99_ms=cost.get("latency_p99_ms", _NONE)["value"],
        on_front=on_front,
        in_production=version is not None,
        slices=slices_of(row),
        confusion=row.get("confusion"),
        reliability=row.get("reliability"),
        sarcasm=(row.get("sarcasm") or {"rows": []})["rows"],
        rephrased=row.get("rephrased"),
        companies=row.get("targets"),
    )


def transfer(var: Path) -> schemas.Transfer:
    """Read the domain-transfer matrix of this machine."""
    path = var / "transfer" / "transfer.json"
    try:
        found = read_json(path)
    except (OSError, ValueError):
        missing = "The domain transfer has not been measured; `groundswell transfer` does, in hours on two cores."
        return schemas.Transfer(missing=missing, candidate=None, epochs=None, learned_rows={}, cells=[], gains=[])
    fields = ("candidate", "epochs", "learned_rows", "cells", "gains")
    return schemas.Transfer(missing=None, **{name: found[name] for name in fields})


def slices_of(row: dict[str, Any]) -> list[schemas.Slice]:
    """Return the slices of a report, the weakest first and those too small to measure last; equal slices are merged."""
    overall = (row.get("macro_recall") or row["metrics"]["macro_recall"])["low"]
    slices: dict[Any, schemas.Slice] = {}
    for each in row.get("slices", []):
        recall = schemas.Interval.model_validate(each["metrics"].get("macro_recall") or _NONE)
        same = same_rows(each)
        if same in slices:
            slices[same].names.append(each["slice"])
        else:
            weak = recall.high is not None and overall is not None and recall.high < overall
            slices[same] = schemas.Slice(names=[each["slice"]], rows=each["n"], macro_recall=recall, weak=weak)
    return sorted(slices.values(), key=lambda each: math.inf if each.macro_recall.value is None else each.macro_recall.value)


def same_rows(part: dict[str, Any]) -> Any:
    """A key that is equal for slices of the same rows, such as a domain with one dataset: the size and all measures."""
    return (part["n"], str(sorted(part["metrics"].items()))) if part["metrics"] else part["slice"]


def _cpu(row: dict[str, Any]) -> float | None:
    return (row.get("cost") or {}).get("cpu_us_per_text", _NONE)["value"]
