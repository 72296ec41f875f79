"""The files that take turns are there."""

from tests.scheduling import SPARK, TRAINING
from tests.serving.running import ROOT


def test_files_that_take_turns_exist():
    assert [file for file in (*TRAINING, *SPARK) if not (ROOT / file).is_file()] == []
