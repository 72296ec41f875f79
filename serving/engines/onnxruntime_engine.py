"""ONNX Runtime as an engine: the default, and the one that every export is compared on."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from serving.engines.engine import OUTPUT, SARCASM, EngineName, Outputs, check_signature, load_error


class OnnxRuntimeEngine:
    """See `Engine`."""

    name: EngineName = "onnxruntime"

    def __init__(self, model_file: Path, threads: int) -> None:
        """See `open_engine`."""
        self.version: str = ort.__version__
        self.threads = threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads use CPU time that the rest of the service needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self.session: Any = ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common base class
            raise load_error(model_file, error) from error
        outputs = [each.name for each in self.session.get_outputs()]
        check_signature(model_file, [each.name for each in self.session.get_inputs()], outputs)
        self._outputs = [OUTPUT, SARCASM] if SARCASM in outputs else [OUTPUT]

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> Outputs:
        """See `Engine.run`."""
        logits, *sarcasm = self.session.run(self._outputs, {"input_ids": input_ids, "attention_mask": attention_mask})
        return Outputs(logits, *sarcasm or (None,))
