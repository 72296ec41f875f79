"""The gate, the registry, the deployment: how a bundle comes to answer, and how the one before comes back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.artifacts import read_json, write_json, write_text
from data.errors import BundleError, GateRefused, ModelError
from data.settings import project_root
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import only_sample, read_splits, require_real_texts
from orchestration.steps.evaluation import judge_candidate, refresh_leaderboard, trained
from orchestration.steps.export import current_bundle, parity_of
from orchestration.steps.judging import frozen_rows, label_ids, primary_mask
from orchestration.steps.retraining_state import TRAINED_FILE, labeled
from orchestration.steps.served import bundle_row, judge_bundle
from orchestration.steps.tracking import benchmark_parent, open_tracking, row_metrics
from serving.bundle import Bundle, production_bundle, read_bundle
from serving.deployment import Deployment
from serving.settings import ServingSettings
from training.registry import Registry

SAMPLE_GATES = project_root() / "configs" / "gates-sample.yaml"


def ask_gate(layout: Layout) -> dict[str, Any]:
    """Decide about the exported bundle by every rule of configs/gates.yaml, and write the decision down.

    A bundle that is in production already keeps the decision that let it through, with its rules, limits and values.

    Returns:
        The decision as JSON: `passed`, `reasons`, `bundle`, `unchanged` (it is in production already).
    """
    require_real_texts(layout)
    bundle = current_bundle(layout)
    current = _production(layout)
    unchanged = current is not None and current.fingerprint == bundle.fingerprint
    kept = _kept_decision(layout, bundle) if unchanged else None
    if kept is None:
        verdict = decide_about(layout, bundle, None if unchanged else current)
        kept = {
            **verdict.to_dict(),
            "markdown": verdict.markdown(),
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(_decision_file(layout, bundle), kept)
    return _write_verdict(layout, bundle, {**kept, "unchanged": unchanged})


def decide_about(layout: Layout, bundle: Bundle, current: Bundle | None) -> Any:
    """The gate's decision about a bundle, compared with the one in production, if any."""
    from evaluation.gate import decide
    from evaluation.gates import load_gates
    from evaluation.slices import slice_masks

    test = frozen_rows(layout, "test")
    production = judge_bundle(layout, current) if current else None
    vader = next((c for c in trained(layout) if c.kind == "vader"), None)
    report("deciding")
    return decide(
        bundle_row(layout, bundle),
        None if production is None or current is None else production.report,
        load_gates(SAMPLE_GATES if only_sample(layout) else None),
        labels=label_ids(test),
        candidate_proba=judge_bundle(layout, bundle).proba_test,
        production_proba=production.proba_test if production else None,
        baseline_proba=judge_candidate(layout, vader).proba_test if vader else None,
        primary=primary_mask(test),
        slices=slice_masks(test),
        parity=parity_of(layout),
    )


def _decision_file(layout: Layout, bundle: Bundle) -> Path:
    return layout.gate / "decisions" / f"{bundle.manifest.version}.json"


def _kept_decision(layout: Layout, bundle: Bundle) -> dict[str, Any] | None:
    try:
        return read_json(_decision_file(layout, bundle))
    except (OSError, ValueError):
        return None


def _production(layout: Layout) -> Bundle | None:
    try:
        return production_bundle(layout.var)
    except BundleError:
        return None


def _write_verdict(layout: Layout, bundle: Bundle, kept: dict[str, Any]) -> dict[str, Any]:
    verdict = {name: value for name, value in kept.items() if name != "markdown"}
    whole = {**verdict, "bundle": bundle.manifest.version, "data_fingerprint": read_splits(layout).fingerprint}
    note = f"{bundle.manifest.version} is in production already; this is the decision that let it through.\n\n"
    write_json(layout.gate / "verdict.json", whole)
    write_text(layout.gate / "verdict.md", (note if kept["unchanged"] else "") + kept["markdown"])
    # What this verdict was about: the sensors compare the world with it.
    write_json(layout.gate / TRAINED_FILE, labeled(layout))
    return whole


def read_verdict(layout: Layout) -> dict[str, Any]:
    """The gate's last verdict.

    Raises:
        ModelError: The gate was not asked yet.
    """
    try:
        return read_json(layout.gate / "verdict.json")
    except OSError as error:
        raise ModelError("The gate was not asked yet.", remedy="groundswell train, or groundswell promote") from error


def register(layout: Layout, run_name: str) -> str:
    """Register the exported bundle with the gate's verdict; passed, it is staged.

    Returns:
        The version in the registry.

    Raises:
        GateRefused: The gate said no. The version is registered all the same, tagged with the reasons; no alias moves.
    """
    bundle, verdict = current_bundle(layout), read_verdict(layout)
    registry = open_registry(layout)
    reasons = "; ".join(reason["text"] for reason in verdict["reasons"] if not reason["passed"])
    outcome = "passed" if verdict["passed"] else "refused"
    report("registering")
    version = registry.register(
        bundle,
        # The benchmark that chose the winner; a store that was moved away has it no more.
        parent_run=lambda: benchmark_parent(layout, registry.tracking, run_name),
        tags={"gate": outcome, "gate_reasons": reasons[:4900] or "all rules passed"},
        metrics=_bundle_metrics(layout, bundle),
    )
    if not verdict["passed"]:
        raise GateRefused(f"The gate refused {bundle.manifest.version}.", found=reasons, remedy="Production stays as it is.")
    staged = registry.alias("staging")
    if staged is None or staged["to"] != version:
        registry.move(
            "staging",
            version,
            str(bundle.directory.relative_to(layout.var)),
            reason="passed the gate",
            gate="passed",
            data_fingerprint=bundle.manifest.data_fingerprint,
        )
    return version


def _bundle_metrics(layout: Layout, bundle: Bundle) -> dict[str, float]:
    """The bundle's own numbers, not those of the candidate before its export."""
    return row_metrics(bundle_row(layout, bundle))


def open_registry(layout: Layout) -> Registry:
    """The registry, its aliases brought to what the ledger says."""
    registry = Registry(layout.var, open_tracking(layout))
    registry.reconcile()
    return registry


def build_staged(layout: Layout) -> str:
    """The Bento of what is staged; gives its tag."""
    from serving.service.build import build_bento

    return build_bento(_staged(layout).directory, layout.bentoml)


def _staged(layout: Layout) -> Bundle:
    from serving.bundle import alias_bundle

    return alias_bundle(layout.var, "staging")


def deploy_staged(layout: Layout) -> Deployment:
    """Let what is staged answer, and then call it production.

    Raises:
        DeploymentFailed: The new one did not prove itself; the old one answers, and production stays what it was.
    """
    bundle = _staged(layout)
    deployment = _deploy(layout, bundle, build_staged(layout))
    open_registry(layout).promote(reason=f"deployed as {deployment.bento}")
    refresh_leaderboard(layout)
    return deployment


def _deploy(layout: Layout, bundle: Bundle, tag: str) -> Deployment:
    from serving.classifier import Classifier
    from serving.deployment import SMOKE_TEXTS, deploy

    answers = Classifier(bundle).classify(SMOKE_TEXTS)
    return deploy(
        tag,
        bentoml_home=layout.bentoml,
        state_dir=layout.deployment,
        expected_version=bundle.manifest.version,
        known={text: answer.label for text, answer in zip(SMOKE_TEXTS, answers, strict=True)},
        settings=ServingSettings.load(),
        progress=report,
    )


def roll_back(layout: Layout, *, reason: str) -> str:
    """Let the version before be production again; a deployment that runs follows.

    Returns:
        The version in the registry.

    Raises:
        RegistryError: There is nothing to go back to.
        DeploymentFailed: It does not come up; the alias stays with the bundle that answers.
    """
    from serving.deployment import status
    from serving.service.build import build_bento

    registry = open_registry(layout)
    previous = registry.previous()
    bundle = read_bundle(layout.var / previous["bundle"])
    if status(layout.deployment) is not None:
        _deploy(layout, bundle, build_bento(bundle.directory, layout.bentoml))
    version = registry.rollback(reason=reason)
    refresh_leaderboard(layout)
    return version
