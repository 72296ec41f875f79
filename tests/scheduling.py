"""Which process runs which tests: a file in one process, and files that use much CPU one after the other.

Two trainings at once on two cores take more than twice as long each. While one runs, tests that wait for servers
and browsers have the other core.
"""

from xdist.scheduler import LoadFileScheduling

TRAINING = (
    "tests/test_demo.py",
    "tests/test_readme.py",
    "tests/orchestration/test_cli.py",
    "tests/orchestration/test_large_models.py",
    "tests/orchestration/test_pipeline.py",
    "tests/orchestration/test_reports_agree.py",
    "tests/orchestration/test_tracking.py",
    "tests/training/test_finetune.py",
    "tests/training/test_hub.py",
    "tests/training/test_registry.py",
)
SPARK = (
    "tests/serving/test_lakehouse.py",
    "tests/serving/test_lakehouse_views.py",
    "tests/orchestration/test_lakehouse_assets.py",
)
_GROUPS = dict.fromkeys(TRAINING, "training") | dict.fromkeys(SPARK, "Spark")


def order(file: str) -> int:
    """Return the position of a file: the groups first, so that none is left to the end."""
    files = (*TRAINING, *SPARK)
    return files.index(file) if file in files else len(files)


class TakingTurns(LoadFileScheduling):
    """Distributes files, and each group of files as if it were one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _GROUPS.get(file, file)
