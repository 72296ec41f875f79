"""Profiles the event loop's thread of a BentoML worker. Python imports this file at its start where its folder is on the path.

SIGUSR1 starts the profile, by CPU time of the thread; SIGUSR2 ends it and writes it to the file that `PROFILE_TO` names.
"""

import cProfile
import os
import signal
import sys
import time
from pathlib import Path

if "_bentoml_impl.worker.service" in sys.orig_argv:
    _profile = cProfile.Profile(time.thread_time)

    def _write(*_: object) -> None:
        _profile.disable()
        target = Path(os.environ["PROFILE_TO"])
        _profile.dump_stats(target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)

    signal.signal(signal.SIGUSR1, lambda *_: _profile.enable())
    signal.signal(signal.SIGUSR2, _write)
