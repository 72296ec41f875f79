"""One asset a candidate: its fine-tuned checkpoint."""

import dagster as dg

from data.errors import CandidateUnavailable
from orchestration.assets.stepping import step
from orchestration.progress import ended
from orchestration.resources import Workplace
from orchestration.steps.training import train_candidate, trained_report
from training.candidates import Candidate


def checkpoint_name(name: str) -> str:
    """The asset of a candidate."""
    return f"model_{name.replace('-', '_')}__checkpoint"


def _checkpoint_asset(candidate: Candidate) -> dg.AssetsDefinition:
    @dg.asset(
        name=checkpoint_name(candidate.name),
        group_name="training",
        kinds={"torch"} if candidate.kind != "vader" else {"python"},
        deps=["core_sentiment__splits"],
        description=f"{candidate.title}, {candidate.kind}",
    )
    def checkpoint(context: dg.AssetExecutionContext, workplace: Workplace) -> dg.MaterializeResult:
        layout = workplace.layout()
        with step(context, f"{'Fetch' if candidate.kind == 'as_is' else 'Train'} {candidate.title}"):
            try:
                reused = train_candidate(layout, candidate, run_name=context.run_id)
                if reused:
                    ended(*("unchanged",) if candidate.kind != "vader" else ("nothing to train", "a lexicon has no weights"))
            except CandidateUnavailable as error:
                ended("skipped", error.message)
                return dg.MaterializeResult(metadata={"state": "skipped", "why": str(error)})
        report = trained_report(layout, candidate)
        return dg.MaterializeResult(
            metadata={
                "state": "unchanged" if reused else "trained",
                "from_scratch": candidate.from_scratch,
                **{key: report[key] for key in ("rows", "epochs", "seconds") if key in report},
            }
        )

    return checkpoint


def training_assets(candidates: list[Candidate]) -> list[dg.AssetsDefinition]:
    """The assets of this step."""
    return [_checkpoint_asset(candidate) for candidate in candidates]
