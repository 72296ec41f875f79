"""The bundle as an MLflow model: loaded from this file by MLflow ("models from code"), run by the classifier."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BundleModel(PythonModel):
    """Texts in; `label, confidence, negative, neutral, positive` out, one row per text; `sarcasm` too where the bundle has it."""

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

        domains = model_input["domain"].tolist() if "domain" in model_input else None
        predictions = self._classifier.classify(model_input["text"].tolist(), domains=domains)
        sarcasm = self._classifier.bundle.manifest.sarcasm is not None
        return pd.DataFrame(
            [
                {"label": p.label, "confidence": p.confidence, **dict(zip(LABELS, p.probabilities, strict=True))}
                | ({"sarcasm": p.sarcasm} if sarcasm else {})
                for p in predictions
            ]
        )


set_model(BundleModel())
