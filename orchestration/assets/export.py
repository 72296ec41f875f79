"""The winner as the bundle that is served."""

import dagster as dg

from orchestration import keys
from orchestration.assets.schema import file_uri, markdown, picture, table
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.resources import VarDirResource
from orchestration.steps.export import export_winner, read_export_report


@dg.asset(
    key=keys.BUNDLE,
    group_name="export",
    kinds={"onnx"},
    owners=OWNERS,
    tags={"report": "export"},
    deps=[keys.LEADERBOARD],
    description=(
        "The best candidate as ONNX. Every export variant (float32, optimized, int8) is compared with torch on the validation "
        "rows; one of them becomes the bundle that every path serves."
    ),
)
def bundle(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> dg.MaterializeResult:
    """Export, optimize, quantize, compare, choose."""
    layout = var_dir.layout()
    with step(context, "Export to ONNX, quantize, check parity"), every_core(layout):
        made = export_winner(layout)
    report = read_export_report(layout)
    chosen = report.chosen_row
    records = [
        {
            "variant": row.name,
            "cpu_us": row.cpu_us,
            "speed_up": row.speed_up,
            "flips_per_10000": row.flips_per_10000,
            "batch_flips": row.batch.flips if row.batch else 0.0,
            "parity": "; ".join(row.reasons) or "passed",
        }
        for row in report.rows
    ]
    return dg.MaterializeResult(
        metadata={
            "version": made.manifest.version,
            "quantization": made.manifest.quantization,
            "cpu_us_per_text": chosen.cpu_us,
            "speed_up": chosen.speed_up,
            "flips_per_10000": chosen.flips_per_10000,
            "val_macro_recall": chosen.macro_recall,
            "model_mib": (made.directory / "model.onnx").stat().st_size / 2**20,
            "variants": table(records),
            "pareto": ", ".join(report.pareto),
            "tiers": ", ".join(made.tiers),
            "card": markdown((made.directory / "card.md").read_text(encoding="utf-8")),
            "variants_plot": picture(layout.export_plot),
            "dagster/uri": file_uri(made.directory),
        },
        data_version=dg.DataVersion(made.fingerprint),
    )


@dg.asset_check(
    asset=bundle,
    blocking=True,
    description="The bundle predicts as the trained model does: changed labels, macro-recall and independence of the batch.",
)
def parity(var_dir: VarDirResource) -> dg.AssetCheckResult:
    """Check that flips, macro-recall and batch invariance are within their limits."""
    result = read_export_report(var_dir.layout()).parity()
    return dg.AssetCheckResult(passed=result.passed, metadata={"why": result.text})


def export_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Return the assets of this step, and their checks."""
    return [bundle], [parity]
