"""The bundle as an MLflow model: loaded from this file by MLflow ("models from code"), run by the classifier."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class BundleModel(PythonModel):
    """Texts in, `label, confidence, negative, neutral, positive` out, one row a text."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read and verify the bundle."""
        from serving.bundle import read_bundle
        from serving.classifier import Classifier

        self._classifier = Classifier(read_bundle(Path(context.artifacts["bundle"])))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Judge the column `text` of a frame."""
        from data.labels import LABELS

        answers = self._classifier.classify(model_input["text"].tolist())
        return pd.DataFrame(
            [{"label": a.label, "confidence": a.confidence, **dict(zip(LABELS, a.probabilities, strict=True))} for a in answers]
        )


set_model(BundleModel())
