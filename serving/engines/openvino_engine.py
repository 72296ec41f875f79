"""OpenVINO as an engine, for CPUs with VNNI or AMX. Extra `openvino`; imported only where it is used."""

import sys
from collections import deque
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from data.errors import SettingsError
from serving.engines.engine import OUTPUT, SARCASM, EngineName, Outputs, check_signature, load_error

_CONVERTERS = "openvino.tools.ovc"
_importing = RLock()


class OpenVinoEngine:
    """See `Engine`.

    A compiled model runs one call at a time, and with several streams it computes in threads of its own, whose CPU time the
    service would not count. So each call takes an idle compiled model, and another one is compiled when none is idle: as many
    as calls ran at once.
    """

    name: EngineName = "openvino"

    def __init__(self, model_file: Path, threads: int) -> None:
        """See `open_engine`."""
        self.version: str = _import().__version__.partition("-")[0]
        self.threads = threads
        self._core = _core()
        if "CPU" not in self._core.available_devices:
            raise SettingsError(
                "OpenVINO does not support this CPU.",
                found=", ".join(self._core.available_devices) or "no device",
                remedy="Set GROUNDSWELL_SERVING__ENGINE=onnxruntime.",
            )
        self._idle: deque[Any] = deque()
        try:
            self._model = self._core.read_model(str(model_file))
            self._idle.append(self._compile())
        except Exception as error:  # OpenVINO raises RuntimeError, and its own subclasses
            raise load_error(model_file, error) from error
        outputs = _names(self._model.outputs)
        check_signature(model_file, _names(self._model.inputs), outputs)
        self._sarcasm = SARCASM in outputs

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> Outputs:
        """See `Engine.run`."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compile()
        try:
            request.infer({"input_ids": input_ids, "attention_mask": attention_mask}, share_inputs=True)
            # Copies: the next call overwrites the request's own memory.
            sarcasm = np.array(request.get_tensor(SARCASM).data) if self._sarcasm else None
            return Outputs(np.array(request.get_tensor(OUTPUT).data), sarcasm)
        finally:
            self._idle.append(request)

    def _compile(self) -> Any:
        options = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            # float32 where the model is: bfloat16 changes labels, and where a CPU has it OpenVINO would choose it.
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,  # a pinned thread competes with the rest of the service for one core
        }
        return self._core.compile_model(self._model, "CPU", options).create_infer_request()


def _core() -> Any:
    """Return the one core of this process, which is never freed.

    A core gives its thread another stack for signal handlers. When a second core is freed after the first, it puts the stack of
    the first back, which is gone: the next signal, such as that of Ctrl-C, would end the process with a segmentation fault.
    """
    with _importing:  # `cache` alone would let two threads make one each
        return _made_core()


@cache
def _made_core() -> Any:
    return _import().Core()


def _names(ports: Any) -> list[str]:
    return [port.any_name for port in ports]


def _import() -> Any:
    """Import OpenVINO without its converters, which send usage statistics and write an id to the home folder at import."""
    with _importing:
        known = sys.modules.get(_CONVERTERS)
        sys.modules[_CONVERTERS] = None  # type: ignore[assignment] # its import raises ImportError, which OpenVINO expects
        try:
            import openvino
        except ImportError as error:
            raise SettingsError(
                "The engine openvino is not installed.",
                found=error,
                expected="the extra openvino",
                remedy='pip install "groundswell[openvino]", or set GROUNDSWELL_SERVING__ENGINE=onnxruntime.',
            ) from error
        finally:
            del sys.modules[_CONVERTERS]
            if known is not None:
                sys.modules[_CONVERTERS] = known
    return openvino
