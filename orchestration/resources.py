"""What assets are given: the folder they work in."""

import dagster as dg

from orchestration.layout import Layout


class Workplace(dg.ConfigurableResource):
    """The `var/` folder. Tests give their own; empty: the one of the settings, read when a run starts."""

    var_dir: str = ""

    def layout(self) -> Layout:
        """Paths below the folder."""
        from pathlib import Path

        return Layout(Path(self.var_dir)) if self.var_dir else Layout.load()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the MLflow run that steps of this Dagster run have begun, as the run ends.

        The executor runs all steps in one process: this is called once a run. One that is killed is ended by the next that uses
        MLflow.
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
