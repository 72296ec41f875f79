"""The winner as the bundle that is served."""

import dagster as dg

from orchestration import keys
from orchestration.assets.schema import file_uri, markdown, picture, table
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.resources import VarDirResource
from orchestration.steps.export import export_winner, read_export_variants, read_parity


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
    variants = read_export_variants(layout)
    chosen = next(row for row in variants["rows"] if row["name"] == variants["chosen"])
    records = [
        {
            "variant": row["name"],
            "cpu_us": float(row["cpu_us"]),
            "speed_up": float(row["speed_up"]),
            "flips_per_10000": float(row["flips_per_10000"]),
            "batch_flips": float(row["batch"]["flips"]) if row["batch"] else 0.0,
            "parity": "; ".join(row["reasons"]) or "passed",
        }
        for row in variants["rows"]
    ]
    return dg.MaterializeResult(
        metadata={
            "version": made.manifest.version,
            "quantization": made.manifest.quantization,
            "cpu_us_per_text": float(chosen["cpu_us"]),
            "speed_up": float(chosen["speed_up"]),
            "flips_per_10000": float(chosen["flips_per_10000"]),
            "val_macro_recall": float(chosen["macro_recall"]),
            "model_mib": (made.directory / "model.onnx").stat().st_size / 2**20,
            "variants": table(records),
            "pareto": ", ".join(variants["pareto"]),
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
    result = read_parity(var_dir.layout())
    return dg.AssetCheckResult(passed=result["passed"], metadata={"why": result["text"]})


def export_assets() -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
    """Return the assets of this step, and their checks."""
    return [bundle], [parity]
