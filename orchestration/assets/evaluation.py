"""The leaderboard of all candidates, and the promotion gate."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from data.errors import CandidateUnavailable
from evaluation.gate import GateDecision, Reason
from evaluation.leaderboard import RANKED_BY, LeaderboardRow
from evaluation.transfer import HEADS
from orchestration import keys
from orchestration.assets.schema import file_uri, markdown, picture, table
from orchestration.assets.stepping import OWNERS, asset_after, every_core, step
from orchestration.progress import ended
from orchestration.resources import VarDirResource
from orchestration.steps.benchmark_log import log_leaderboard, log_transfer
from orchestration.steps.evaluation import write_leaderboard
from orchestration.steps.large_models import evaluate_large_model
from orchestration.steps.release import read_gate_decision, run_gate
from orchestration.steps.transfer import measure_transfer
from training.candidates import Candidate, large_models

_METRICS = ("macro_recall", "accuracy", "macro_f1", "ece")
_LOWER_IS_BETTER = ("ceiling", "behavior", "CPU budget")


def _leaderboard(candidates: list[Candidate]) -> dg.AssetsDefinition:
    @asset_after(
        key=keys.LEADERBOARD,
        deps=[keys.checkpoint(candidate.name) for candidate in candidates],
        group_name="evaluation",
        kinds={"scikitlearn"},
        owners=OWNERS,
        tags={"report": "leaderboard"},
        description=(
            "Every available candidate and the VADER lexicon on the frozen test split: quality with 95 % intervals, slices, "
            "behavior and CPU cost. Large models that were evaluated by name are rows too. The numbers below are those of the "
            "best row that is no large model."
        ),
    )
    def compare_candidates(context: dg.OpExecutionContext, var_dir: VarDirResource) -> Iterator[dg.Output]:
        layout = var_dir.layout()
        with step(context, "Benchmark all candidates"), every_core(layout):
            rows = write_leaderboard(layout)
            log_leaderboard(layout, context.run.run_id)
        best, folder = next(row for row in rows if row.large_model is None), layout.leaderboard
        yield dg.Output(
            None,
            metadata={
                "best": best.candidate,
                **{name: best.metrics[name].value for name in _METRICS},
                **_cpu_us(best),
                "leaderboard": markdown(_summary(rows)),
                "full_leaderboard": markdown((folder / "leaderboard.md").read_text(encoding="utf-8")),
                **{path.stem: picture(path) for path in sorted(folder.glob("*.png"))},
                "page": dg.MetadataValue.path(str(folder / "leaderboard.html")),
                "dagster/uri": file_uri(folder),
            },
        )

    return compare_candidates


def _large_model(candidate: Candidate) -> dg.AssetsDefinition:
    assert candidate.llm is not None
    model, prompt = candidate.llm.model, candidate.llm.prompt

    @dg.asset(
        key=keys.large_model(candidate.name),
        group_name="evaluation",
        kinds={"openai"},
        owners=OWNERS,
        tags={"candidate": candidate.name},
        deps=[keys.SPLITS],
        output_required=False,
        description=(
            f"{candidate.title}: {model}, {prompt}, asked for the test rows over an endpoint; evaluated only, never served. "
            "Requests cost money, so it runs by name only. Not materialized without an API key. See configs/candidates.yaml."
        ),
        metadata={"model": model, "prompt": prompt, "license": candidate.license},
    )
    def evaluate(context: dg.OpExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
        with step(context, f"Evaluate {candidate.title}"):
            try:
                evaluated = evaluate_large_model(var_dir.layout(), candidate)
            except CandidateUnavailable as error:
                ended("skipped", error.message)
                return
        row, facts = evaluated.row, evaluated.row.large_model
        assert facts is not None
        prices = {"usd_per_million": facts.usd_per_million, "spent_usd": evaluated.spent_usd}
        yield dg.MaterializeResult(
            metadata={
                **{name: row.metrics[name].value for name in _METRICS if name in row.metrics},
                **{name: usd for name, usd in prices.items() if usd is not None},
                "rows": row.n,
                "rows_without_label": facts.without_label,
                "latency_p50_ms": facts.latency_p50_ms,
                "latency_p95_ms": facts.latency_p95_ms,
            }
        )

    return evaluate


def _cpu_us(row: LeaderboardRow) -> dict[str, float]:
    return {"cpu_us_per_text": row.cost.cpu_us_per_text.value} if row.cost else {}


def _summary(rows: list[LeaderboardRow]) -> str:
    """Return a short table: Dagster shows one of under 1,000 characters in place, and a longer one behind a click."""
    lines = ["| candidate | macro-recall | CPU µs |", "|---|---|---|"]
    for row in rows[:8]:
        cpu = "".join(f"{us:,.0f}" for us in _cpu_us(row).values()) or "–"
        lines.append(f"| {row.candidate} | {100 * row.metrics[RANKED_BY].value:.1f} | {cpu} |")
    return "\n".join(lines)


@dg.asset(
    key=keys.GATE,
    group_name="release",
    kinds={"scikitlearn"},
    owners=OWNERS,
    tags={"report": "gate"},
    deps=[keys.BUNDLE],
    description=(
        "The promotion gate: may this bundle replace the production model? Every rule of configs/gates.yaml with its limit, the "
        "measured value, and the margin between the two (negative: the rule failed)."
    ),
)
def promotion_gate(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Run the promotion gate; a refusal is a normal result."""
    layout = var_dir.layout()
    with step(context, "Run the promotion gate"), every_core(layout):
        decision = run_gate(layout)
    return dg.MaterializeResult(
        metadata={
            "passed": decision.passed,
            "bundle": decision.bundle,
            "rules_failed": float(len(decision.failures)),
            **{f"margin: {reason.rule}": margin for reason in decision.reasons if (margin := _margin(reason)) is not None},
            "rules": table(_rules(decision)),
            "decision": markdown(layout.gate_page.read_text(encoding="utf-8")),
        }
    )


def _margin(reason: Reason) -> float | None:
    found, limit = reason.found, reason.limit
    if not isinstance(found, int | float) or not isinstance(limit, int | float):
        return None
    return float(limit - found if reason.rule.startswith(_LOWER_IS_BETTER) else found - limit)


def _rules(decision: GateDecision) -> list[dict[str, Any]]:
    return [
        {
            "rule": reason.rule,
            "passed": reason.passed,
            "found": "" if reason.found is None else str(reason.found),
            "limit": "" if reason.limit is None else str(reason.limit),
            "reason": reason.text,
        }
        for reason in decision.reasons
    ]


@dg.asset_check(
    asset=promotion_gate,
    description="Whether the promotion gate passed. A failed gate keeps the current model; the run still succeeds.",
)
def gate(var_dir: VarDirResource) -> dg.AssetCheckResult:
    """Return the gate decision with every reason."""
    decision = read_gate_decision(var_dir.layout())
    return dg.AssetCheckResult(
        passed=decision.passed, severity=dg.AssetCheckSeverity.WARN, metadata={"reasons": table(_rules(decision))}
    )


@dg.asset(
    key=keys.TRANSFER,
    group_name="evaluation",
    kinds={"pytorch"},
    owners=OWNERS,
    tags={"report": "transfer"},
    deps=[keys.SPLITS],
    description=(
        "The domain-transfer matrix: a model for each domain, one of all with a head for each, and one of all with one head, "
        "each evaluated on every domain. Trained for the comparison only, in hours on two cores; resumable."
    ),
)
def domain_transfer(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Measure the matrix, and log it to MLflow."""
    layout = var_dir.layout()
    with step(context, "Measure domain transfer"), every_core(layout):
        measured = measure_transfer(layout)
        log_transfer(layout, context.run.run_id, measured)
    return dg.MaterializeResult(
        metadata={
            **{f"heads_{domain}": measured.at(HEADS, domain).macro_recall.value for domain in measured.domains},
            "matrix": markdown((layout.transfer / "transfer.md").read_text(encoding="utf-8")),
            "heat_map": picture(layout.transfer / "transfer.png"),
            "dagster/uri": file_uri(layout.transfer),
        }
    )


def evaluation_assets(candidates: list[Candidate]) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Return the assets of this step, and their checks."""
    return [_leaderboard(candidates), *map(_large_model, large_models()), promotion_gate, domain_transfer], [gate]
