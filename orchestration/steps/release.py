"""The promotion gate, the registry and the deployment: how a bundle is promoted, and how it is rolled back."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from data.artifacts import read_json, write_json, write_text
from data.errors import BundleError, GateRefused, ModelError
from evaluation.gate import GateDecision, decide
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits, require_real_texts
from orchestration.steps.evaluation import evaluate_candidate, load_rules, refresh_leaderboard, trained
from orchestration.steps.export import current_bundle, read_export_report
from orchestration.steps.predictions import frozen_rows, label_ids, primary_mask
from orchestration.steps.retraining_state import TRAINED_FILE, labeled
from orchestration.steps.served import bundle_row, evaluate_bundle
from orchestration.steps.tracking import benchmark_parent, open_tracking, row_metrics
from serving.bundle import Bundle, production_bundle, read_bundle
from serving.deployment import Deployment
from serving.settings import ServingSettings
from training.registry import Registry


def run_gate(layout: Layout) -> GateDecision:
    """Apply every rule of configs/gates.yaml to the exported bundle, and store the decision.

    A bundle that is in production already keeps the decision that promoted it, with its rules, limits and values.
    """
    require_real_texts(layout)
    bundle = current_bundle(layout)
    current = _production(layout)
    unchanged = current is not None and current.fingerprint == bundle.fingerprint
    decision = _kept_decision(layout, bundle) if unchanged else None
    if decision is None:
        decision = decide_promotion(layout, bundle, None if unchanged else current)
        decision = replace(decision, bundle=bundle.manifest.version, decided_at=datetime.now(UTC).isoformat(timespec="seconds"))
        write_json(_decision_file(layout, bundle), decision.to_dict())
    decision = replace(
        decision, bundle=bundle.manifest.version, data_fingerprint=read_splits(layout).fingerprint, unchanged=unchanged
    )
    _write_decision(layout, decision)
    return decision


def decide_promotion(layout: Layout, bundle: Bundle, current: Bundle | None) -> GateDecision:
    """Return the gate decision about a bundle, compared with the production bundle, if any."""
    from evaluation.slices import slice_masks

    test = frozen_rows(layout, "test")
    production = evaluate_bundle(layout, current) if current else None
    vader = next((c for c in trained(layout) if c.kind == "vader"), None)
    report("deciding")
    return decide(
        bundle_row(layout, bundle),
        production.row if production else None,
        load_rules(layout),
        labels=label_ids(test),
        candidate_proba=evaluate_bundle(layout, bundle).proba_test,
        production_proba=production.proba_test if production else None,
        baseline_proba=evaluate_candidate(layout, vader).proba_test if vader else None,
        primary=primary_mask(layout, test),
        slices=slice_masks(test),
        parity=read_export_report(layout).parity(),
        heads=bundle.manifest.heads,
    )


def _decision_file(layout: Layout, bundle: Bundle) -> Path:
    return layout.gate / "decisions" / f"{bundle.manifest.version}.json"


def _kept_decision(layout: Layout, bundle: Bundle) -> GateDecision | None:
    try:
        return GateDecision.from_dict(read_json(_decision_file(layout, bundle)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _production(layout: Layout) -> Bundle | None:
    try:
        return production_bundle(layout.var)
    except BundleError:
        return None


def _write_decision(layout: Layout, decision: GateDecision) -> None:
    note = f"{decision.bundle} is in production already; this is the decision that promoted it.\n\n"
    write_json(layout.gate_decision, decision.to_dict())
    write_text(layout.gate_page, (note if decision.unchanged else "") + decision.markdown())
    # The data of this decision: the sensors compare the present data with it.
    write_json(layout.gate / TRAINED_FILE, labeled(layout))


def read_gate_decision(layout: Layout) -> GateDecision:
    """Return the last decision of the promotion gate.

    Raises:
        ModelError: The promotion gate has not run yet.
    """
    try:
        return GateDecision.from_dict(read_json(layout.gate_decision))
    except OSError as error:
        raise ModelError(
            "The promotion gate has not run yet.", remedy="Run `groundswell train` or `groundswell promote`."
        ) from error


def register(layout: Layout, run_name: str) -> str:
    """Register the exported bundle with the gate decision, and stage it if it passed.

    Returns:
        The version in the registry.

    Raises:
        GateRefused: The gate refused the bundle. The version is still registered, tagged with the reasons; no alias moves.
    """
    bundle, decision = current_bundle(layout), read_gate_decision(layout)
    registry = open_registry(layout)
    reasons = "; ".join(reason.text for reason in decision.failures)
    outcome = "passed" if decision.passed else "refused"
    report("registering")
    version = registry.register(
        bundle,
        # The benchmark that chose the winner; a store that was moved no longer has it.
        parent_run=lambda: benchmark_parent(layout, registry.tracking, run_name),
        tags={"gate": outcome, "gate_reasons": reasons[:4900] or "all rules passed"},
        metrics=row_metrics(bundle_row(layout, bundle)),  # of the bundle itself, not of the candidate before its export
    )
    if not decision.passed:
        raise GateRefused(
            f"The promotion gate refused {bundle.manifest.version}.", found=reasons, remedy="The production model stays."
        )
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


def open_registry(layout: Layout) -> Registry:
    """Open the registry and bring its aliases in line with the ledger."""
    registry = Registry(layout.var, open_tracking(layout))
    registry.reconcile()
    return registry


def build_staged(layout: Layout) -> str:
    """Build the Bento of the staged bundle and return its tag."""
    from serving.service.build import build_bento

    return build_bento(_staged(layout).directory, layout.bentoml)


def _staged(layout: Layout) -> Bundle:
    from serving.bundle import alias_bundle

    return alias_bundle(layout.var, "staging")


def deploy_staged(layout: Layout) -> Deployment:
    """Deploy the staged bundle, and set the alias `production` once the deployment passed its smoke test.

    Raises:
        DeploymentFailed: The new deployment failed its test. The old one keeps serving, and the alias does not move.
    """
    bundle = _staged(layout)
    deployment = _deploy(layout, bundle, build_staged(layout))
    open_registry(layout).promote(reason=f"deployed as {deployment.bento}")
    refresh_leaderboard(layout)
    return deployment


def _deploy(layout: Layout, bundle: Bundle, tag: str) -> Deployment:
    from serving.classifier import Classifier
    from serving.deployment import SMOKE_TEXTS, deploy

    predictions = Classifier(bundle).classify(SMOKE_TEXTS)
    return deploy(
        tag,
        bentoml_home=layout.bentoml,
        state_dir=layout.deployment,
        expected_version=bundle.manifest.version,
        known={text: prediction.label for text, prediction in zip(SMOKE_TEXTS, predictions, strict=True)},
        settings=layout.settings(ServingSettings),
        environment=layout.environment(),
        progress=report,
    )


def roll_back(layout: Layout, *, reason: str) -> str:
    """Return production to the previous version; a running deployment is replaced first.

    Returns:
        The version in the registry.

    Raises:
        RegistryError: There is no previous version.
        DeploymentFailed: The previous version did not start; the alias stays with the bundle that is served.
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
