"""Progress reports of a training run."""

import time
from typing import Any

from transformers import TrainerCallback


class ProgressCallback(TrainerCallback):
    """Report rows per second and the remaining time, about once a second."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self._started, self._first_step, self._reported = 0.0, 0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record the first step of this process: a resumed run does not start at step 0."""
        self._started, self._first_step = time.monotonic(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report at most once a second."""
        now = time.monotonic()
        if self.progress is None or now - self._reported < 1.0:
            return
        self._reported = now
        done = state.global_step - self._first_step
        rate = done / max(now - self._started, 1e-9)
        left = (state.max_steps - state.global_step) / rate if rate else 0.0
        rows = rate * args.per_device_train_batch_size
        self.progress(
            f"step {state.global_step} of {state.max_steps}, {rows:.0f} rows/s, {left:.0f} s left",
            state.global_step / max(state.max_steps, 1),
        )
