"""The bundle as an MLflow model: loaded from this file by MLflow ("models from code"), run by the classifier."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BundleModel(PythonModel):
    """Texts in; `label, confidence, negative, neutral, positive, error` out, one row per text.

    `sarcasm` too where the bundle has it. A text that cannot be classified has an `error` and nothing else; `error` is null for
    all others.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read and verify the bundle."""
        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(Path(context.artifacts["bundle"])))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify the column `text` of a frame; with a column `domain`, by the head of each row's domain."""
        from data.labels import LABELS
        from data.readable import MAX_DOCUMENT_CHARS, explain, unreadable

        texts = model_input["text"].tolist()
        domains = model_input["domain"].tolist() if "domain" in model_input else [None] * len(texts)
        reasons = [unreadable(text, MAX_DOCUMENT_CHARS) for text in texts]
        readable = [place for place, reason in enumerate(reasons) if reason is None]
        predictions = self._classifier.classify([texts[n] for n in readable], domains=[domains[n] for n in readable])
        rows: list[dict[str, Any]] = [
            {"label": None, "error": None if reason is None else explain(reason, text, MAX_DOCUMENT_CHARS)}
            for text, reason in zip(texts, reasons, strict=True)
        ]
        for place, p in zip(readable, predictions, strict=True):
            rows[place] |= {"label": p.label, "confidence": p.confidence, **dict(zip(LABELS, p.probabilities, strict=True))}
            rows[place]["sarcasm"] = p.sarcasm
        numbers = ["confidence", *LABELS, *(["sarcasm"] if self._classifier.bundle.manifest.sarcasm else [])]
        frame = pd.DataFrame(rows, columns=["label", *numbers, "error"])
        return frame.astype(dict.fromkeys(numbers, float))  # also where no text can be classified


set_model(BundleModel())
