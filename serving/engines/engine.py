"""The interface of an engine, its implementations by name, and the CPU that it runs on."""

import platform
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from data.errors import BundleError

EngineName = Literal["onnxruntime", "openvino"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
DEFAULT_ENGINE: EngineName = "onnxruntime"
INPUTS = ("attention_mask", "input_ids")
OUTPUT, SARCASM = "logits", "sarcasm"

_CPU_INFO = Path("/proc/cpuinfo")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8", "amx_bf16", "amx_int8")
_ARM_FLAGS = ("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve")


class Outputs(NamedTuple):
    """What a model computes for N texts."""

    logits: np.ndarray
    """Float32, shape (N, 3), columns in `LABELS` order; of a model with D heads, D > 1, (N, D, 3)."""
    sarcasm: np.ndarray | None
    """Logits, float32, shape (N, 1); None: the model has no such output."""


class Engine(Protocol):
    """A loaded model. Thread-safe; a call computes in the thread of its caller if `threads` is 1."""

    name: EngineName
    version: str
    threads: int
    """Threads of one call."""

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> Outputs:
        """Compute logits.

        Args:
            input_ids: Token ids, int64, shape (N, L), padded at the end.
            attention_mask: 1 for a token, 0 for padding, int64, shape (N, L).
        """
        ...


def open_engine(name: EngineName, model_file: Path, threads: int) -> Engine:
    """Load a model on an engine.

    Args:
        name: Of `ENGINES`.
        model_file: ONNX; `input_ids`, `attention_mask` int64 (N, L) to `logits` float32 (N, 3) or (N, D, 3),
            and perhaps `sarcasm` (N, 1).
        threads: Threads of one call.

    Raises:
        SettingsError: The engine is not installed, or it does not support this CPU.
        BundleError: The model cannot be loaded, or its inputs or outputs are not as expected.
    """
    if name == "openvino":
        from serving.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model_file, threads)
    from serving.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model_file, threads)


def on_engine(name: str, engine: EngineName) -> str:
    """Return the version or the fingerprint of a bundle on an engine, such as `minilm-0a1b2c3d4e5f+openvino`.

    Engines round differently: caches keep their predictions apart, and the reconciliation shows whose prediction it is. On
    the default engine it is the bundle's own.
    """
    return name if engine == DEFAULT_ENGINE else f"{name}+{engine}"


def load_error(model_file: Path, error: Exception) -> BundleError:
    """Return the error of a model that an engine cannot load."""
    lines = str(error).strip().splitlines()
    return BundleError(
        f"Model {model_file} cannot be loaded.", found=lines[0] if lines else repr(error), remedy="Export it again."
    )


def check_signature(model_file: Path, inputs: list[str], outputs: list[str]) -> None:
    """Check the names of a model's inputs and outputs.

    Raises:
        BundleError: They are not as expected.
    """
    if sorted(inputs) != list(INPUTS) or OUTPUT not in outputs:
        raise BundleError(
            f"Model {model_file} has unexpected inputs or outputs.",
            found=f"inputs {sorted(inputs)}, outputs {outputs}",
            expected=f"inputs {', '.join(INPUTS)}; output {OUTPUT}",
        )


def describe_cpu(cpu_info: Path = _CPU_INFO) -> dict[str, str]:
    """Return `model` and `flags` of this machine's CPU: the flags that decide how fast 8-bit and 16-bit arithmetic is."""
    fields: dict[str, str] = {}
    try:
        for line in cpu_info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:  # no Linux
        pass
    known = set(fields.get("flags", fields.get("Features", "")).split())
    model = fields.get("model name") or fields.get("CPU part") or platform.machine()
    return {"model": model, "flags": " ".join(flag for flag in (*_FLAGS, *_ARM_FLAGS) if flag in known)}
