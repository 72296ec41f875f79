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
