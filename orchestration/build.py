"""Assemble the code location."""

import warnings

import dagster as dg

from orchestration.assets.data import data_assets
from orchestration.assets.evaluation import evaluation_assets
from orchestration.assets.export import export_assets
from orchestration.assets.lakehouse import lakehouse_assets
from orchestration.assets.quality import quality_assets
from orchestration.assets.release import release_assets
from orchestration.assets.serving_paths import serving_path_assets
from orchestration.assets.stepping import with_code_references
from orchestration.assets.training import training_assets
from orchestration.jobs import jobs
from orchestration.resources import VarDirResource
from orchestration.schedules import schedules
from orchestration.sensors import sensors
from training.candidates import large_models, load_candidates


def build_defs() -> dg.Definitions:
    """Build all definitions that Dagster's web UI shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references; the version of Dagster is pinned
        return _build()


def _build() -> dg.Definitions:
    # A lexicon and a large model need no training: they have no checkpoint, and are rows of the leaderboard only.
    candidates = [candidate for candidate in load_candidates().values() if candidate.is_trained_here]
    usual = [candidate for candidate in candidates if not candidate.on_request]
    large = [one.name for one in large_models()]
    data, data_checks = data_assets()
    evaluation, evaluation_checks = evaluation_assets(usual)
    export, export_checks = export_assets()
    lakehouse, lakehouse_checks = lakehouse_assets()
    paths, path_checks = serving_path_assets()
    assets = [*data, *training_assets(candidates), *evaluation, *export, *release_assets(), *quality_assets(), *lakehouse, *paths]
    return dg.Definitions(
        assets=with_code_references(assets),
        asset_checks=[*data_checks, *evaluation_checks, *export_checks, *lakehouse_checks, *path_checks],
        jobs=jobs([one.name for one in usual], every=[one.name for one in candidates], large=large),
        schedules=schedules(),
        sensors=sensors(),
        resources={"var_dir": VarDirResource()},
        # Two cores: parallel steps would only take turns, and each would load torch again.
        executor=dg.in_process_executor,
    )
