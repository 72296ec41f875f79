"""The leaderboard of all candidates, the ladder of the winner, and the gate."""

from pathlib import Path

import dagster as dg

from orchestration.assets.stepping import step
from orchestration.assets.training import checkpoint_name
from orchestration.resources import Workplace
from orchestration.steps.evaluation import log_leaderboard, write_leaderboard
from orchestration.steps.export import export_winner, parity_of, read_ladder
from orchestration.steps.release import ask_gate, read_verdict


def _leaderboard(candidates: list[str]) -> dg.AssetsDefinition:
    @dg.asset(
        group_name="evaluation",
        kinds={"html"},
        deps=[checkpoint_name(name) for name in candidates],
        description="Every candidate on the frozen test split: quality with 95 % intervals, slices, behaviour, cost.",
    )
    def report_benchmark__leaderboard(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        layout = workplace.layout()
        with step(context, "Benchmark all candidates"):
            rows = write_leaderboard(layout)
            log_leaderboard(layout, context.run_id)
        return dg.MaterializeResult(
            metadata={
                "best": rows[0]["candidate"],
                "macro_recall": rows[0]["macro_recall"]["value"],
                "leaderboard": _markdown(layout.leaderboard / "leaderboard.md"),
                "page": dg.MetadataValue.path(str(layout.leaderboard / "leaderboard.html")),
                **{path.stem: _picture(path) for path in sorted(layout.leaderboard.glob("*.png"))},
            }
        )

    return report_benchmark__leaderboard


@dg.asset(
    group_name="evaluation",
    kinds={"onnx"},
    deps=["report_benchmark__leaderboard"],
    description="The winner as ONNX: every step of the ladder measured against torch, one of them as the bundle that is served.",
)
def model_sentiment__bundle(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
    """Export, optimise, quantize, compare, choose."""
    layout = workplace.layout()
    with step(context, "Export to ONNX, quantize, check parity"):
        bundle = export_winner(layout)
    ladder = read_ladder(layout)
    records = [
        dg.TableRecord(
            {
                "step": row["name"],
                "cpu_us": row["cpu_us"],
                "speed_up": row["speed_up"],
                "flips_per_10000": row["flips_per_10000"],
                "batch_flips": row["batch"]["flips"] if row["batch"] else 0.0,
                "parity": "; ".join(row["reasons"]) or "passed",
            }
        )
        for row in ladder["rows"]
    ]
    return dg.MaterializeResult(
        metadata={
            "version": bundle.manifest.version,
            "quantization": bundle.manifest.quantization,
            "ladder": dg.MetadataValue.table(records),
            "pareto": ", ".join(ladder["pareto"]),
            "card": dg.MetadataValue.md((bundle.directory / "card.md").read_text(encoding="utf-8")),
            "ladder_plot": _picture(layout.export / "ladder.png"),
        },
        data_version=dg.DataVersion(bundle.fingerprint),
    )


@dg.asset_check(asset=model_sentiment__bundle, blocking=True, description="The exported model answers as the trained one.")
def parity(workplace: Workplace) -> dg.AssetCheckResult:
    """Flips, macro-recall and batch invariance within their limits."""
    found = parity_of(workplace.layout())
    return dg.AssetCheckResult(passed=found["passed"], metadata={"why": found["text"]})


@dg.asset(
    group_name="evaluation",
    kinds={"python"},
    deps=[model_sentiment__bundle],
    description="May this bundle answer? Every rule of configs/gates.yaml with its reason.",
)
def report_sentiment__gate(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
    """Ask the gate; a no is a normal result."""
    layout = workplace.layout()
    with step(context, "Ask the gate"):
        verdict = ask_gate(layout)
    return dg.MaterializeResult(
        metadata={
            "passed": verdict["passed"],
            "bundle": verdict["bundle"],
            "verdict": _markdown(layout.gate / "verdict.md"),
        }
    )


@dg.asset_check(asset=report_sentiment__gate, description="The gate's verdict; no keeps the old model, and ends well.")
def gate(workplace: Workplace) -> dg.AssetCheckResult:
    """The verdict with every reason."""
    verdict = read_verdict(workplace.layout())
    reasons = [
        dg.TableRecord({"rule": reason["rule"], "passed": reason["passed"], "why": reason["text"]})
        for reason in verdict["reasons"]
    ]
    return dg.AssetCheckResult(
        passed=verdict["passed"], severity=dg.AssetCheckSeverity.WARN, metadata={"reasons": dg.MetadataValue.table(reasons)}
    )


def evaluation_assets(candidates: list[str]) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """The assets of this step, and their checks."""
    return [_leaderboard(candidates), model_sentiment__bundle, report_sentiment__gate], [parity, gate]


def _markdown(path: Path) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(path.read_text(encoding="utf-8"))


def _picture(path: Path) -> dg.MarkdownMetadataValue:
    import base64

    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{encoded})")
