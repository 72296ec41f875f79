"""One asset for each candidate: its fine-tuned checkpoint."""

from collections.abc import Iterator

import dagster as dg

from data.errors import CandidateUnavailable
from orchestration import keys
from orchestration.assets.schema import file_uri
from orchestration.assets.stepping import OWNERS, every_core, step
from orchestration.progress import ended
from orchestration.resources import VarDirResource
from orchestration.steps.training import candidate_folder, train_candidate, trained_report
from training.candidates import LINEAR, Candidate
from training.settings import DistillationSettings


def _checkpoint(candidate: Candidate, teacher: str) -> dg.AssetsDefinition:
    key = keys.checkpoint(candidate.name)
    base = candidate.package or candidate.hub or ("none" if candidate.kind in LINEAR else "random weights")
    what = {
        "as_is": "fetched as published, not trained",
        "student": f"distilled into {base}",
        **dict.fromkeys(LINEAR, "fitted with scikit-learn, to compare with"),
    }.get(candidate.kind, f"fine-tuned from {base}")

    @dg.asset(
        key=key,
        group_name="training",
        kinds={"scikitlearn"} if candidate.kind in LINEAR else {"pytorch", "huggingface"},
        owners=OWNERS,
        tags={"candidate": candidate.name},
        deps=[keys.SPLITS, *([keys.checkpoint(teacher)] if candidate.kind == "student" else [])],
        output_required=False,
        description=(
            f"{candidate.title}: {what}. License: {candidate.license}. Not materialized while its base model is not available; "
            "the log has the reason. See configs/candidates.yaml."
        ),
        metadata={"base_model": base, "license": candidate.license, "from_scratch": candidate.from_scratch},
    )
    def checkpoint(context: dg.AssetExecutionContext, var_dir: VarDirResource) -> Iterator[dg.MaterializeResult]:
        layout = var_dir.layout()
        with step(context, f"{'Fetch' if candidate.kind == 'as_is' else 'Train'} {candidate.title}"), every_core(layout):
            try:
                reused = train_candidate(layout, candidate, run_name=context.run.run_id)
            except CandidateUnavailable as error:
                ended("skipped", error.message)  # the benchmark fails if no candidate is left
                return
            if reused:
                ended("unchanged")
        report = trained_report(layout, candidate)
        yield dg.MaterializeResult(
            metadata={
                "dagster/uri": file_uri(candidate_folder(layout, candidate)),
                "state": "unchanged, reused" if reused else "trained",
                "trained_rows": float(report["rows"]),
                "epochs": float(report["epochs"]),
                "train_seconds": float(report["seconds"]),
                "val_macro_recall": float(report["best_macro_recall"]),
            }
        )

    return checkpoint


def training_assets(candidates: list[Candidate]) -> list[dg.AssetsDefinition]:
    """Return the assets of this step."""
    teacher = DistillationSettings.load().teacher
    return [_checkpoint(candidate, teacher) for candidate in candidates]
