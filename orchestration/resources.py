"""Resources of the assets: the var folder."""

from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration.layout import Layout


class VarDirResource(dg.ConfigurableResource):
    """The `var/` folder and the settings of a run."""

    settings: dict[str, Any] = Field(default={})
    """By section and field, above profile and environment: `{"training": {"epochs": 2}}`. Commands set their flags here, so that
    a run that is executed again from the UI has the same settings."""

    def layout(self) -> Layout:
        """Paths below the folder of the settings, which is read when a run starts."""
        return replace(Layout.load(), overrides=self.settings)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the MLflow run that the steps of this Dagster run started.

        The executor runs all steps in one process, so this is called once a run. The MLflow run of a killed process is ended by
        the next process that uses MLflow.
        """
        if context.run is None or context.instance is None:
            return  # outside of a run
        from orchestration.steps.tracking import end_parent

        run = context.instance.get_run_by_id(context.run.run_id)
        failures = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
            end_parent(self.layout(), context.run.run_id, "KILLED")
        else:
            end_parent(self.layout(), context.run.run_id, "FAILED" if failures else "FINISHED")
