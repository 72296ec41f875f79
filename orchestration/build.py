"""The one place that puts the code location together. Tests call it with their own resources."""

import dagster as dg

from orchestration.assets.data import data_assets
from orchestration.assets.evaluation import evaluation_assets
from orchestration.assets.lakehouse import lakehouse_assets
from orchestration.assets.serving import serving_assets
from orchestration.assets.training import training_assets
from orchestration.jobs import jobs
from orchestration.resources import Workplace
from orchestration.schedules import schedules
from orchestration.sensors import sensors
from training.candidates import load_candidates


def build_defs(*, workplace: Workplace | None = None) -> dg.Definitions:
    """Everything `dagster dev` shows.

    Args:
        workplace: The folder to work in; none: the one of the settings.
    """
    candidates = list(load_candidates().values())
    raw, raw_checks = data_assets()
    judged, judged_checks = evaluation_assets([candidate.name for candidate in candidates])
    served, served_checks = serving_assets()
    lake, lake_checks = lakehouse_assets()
    return dg.Definitions(
        assets=[*raw, *training_assets(candidates), *judged, *served, *lake],
        asset_checks=[*raw_checks, *judged_checks, *served_checks, *lake_checks],
        jobs=jobs([candidate.name for candidate in candidates]),
        schedules=schedules(),
        sensors=sensors(),
        resources={"workplace": workplace or Workplace()},
        # Two cores: steps side by side would only take turns, and each would load torch again.
        executor=dg.in_process_executor,
    )
