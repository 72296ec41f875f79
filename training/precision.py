# Torch and transformers annotate their functions only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
"""Whether bf16 is faster on this machine: measured once per model size, and stored."""

import logging
import platform
import time
from pathlib import Path
from typing import Any

from data.artifacts import read_json, write_json

_log = logging.getLogger(__name__)

FILE = ".precision.json"
_ROUNDS, _BATCH, _LENGTH = 3, 16, 32
_WORTH_IT = 1.1
"""Required speed-up of bf16, since its rounding costs accuracy."""


def bf16_is_faster(model: Any, folder: Path) -> bool:
    """Time a few training steps in fp32 and under bf16 autocast, alternating; store the ratio in `folder`.

    On a GPU, returns whether the card supports bf16. The weights of the model stay unchanged.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    key = f"{platform.node()}/{torch.__version__}/{type(model).__name__}/{sum(p.numel() for p in model.parameters())}"
    path = folder / FILE
    known: dict[str, float] = read_json(path) if path.is_file() else {}
    if key not in known:
        known[key] = round(_fp32_over_bf16(model), 3)
        write_json(path, known)
        _log.info("bf16 speed-up over fp32: %.2fx", known[key])
    return known[key] >= _WORTH_IT


def _fp32_over_bf16(model: Any) -> float:
    import torch

    state = torch.random.get_rng_state()
    ids = torch.ones((_BATCH, _LENGTH), dtype=torch.int64)
    mask = torch.ones_like(ids)
    best = [float("inf"), float("inf")]  # fp32, bf16
    model.train()
    for _ in range(_ROUNDS):
        for bf16 in (False, True):
            started = time.process_time()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = model(input_ids=ids, attention_mask=mask).logits
            logits.float().sum().backward()
            best[bf16] = min(best[bf16], time.process_time() - started)
    model.zero_grad(set_to_none=True)
    torch.random.set_rng_state(state)
    return best[0] / best[1]
