"""Predict with an MLflow model: `mlflow_script.py MODEL ROWS OUTCOMES`. Run as a file, in a process of its own.

It imports nothing of this project: the model brings the code with which it was registered.
"""

import json
import math
import sys
from pathlib import Path


def main(model: str, rows: Path, outcomes: Path) -> None:
    """Read rows, predict, and write outcomes, one JSON line each."""
    import mlflow.pyfunc
    import pandas as pd

    sent = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    frame = pd.DataFrame({"text": [row["text"] for row in sent], "domain": [row["domain"] for row in sent]})
    found = mlflow.pyfunc.load_model(model).predict(frame).to_dict("records")
    numbers = [row["number"] for row in sent] + [-1] * len(found)  # one too many has a number that no row has
    lines = [json.dumps([number, _outcome(prediction)]) for number, prediction in zip(numbers, found, strict=False)]
    outcomes.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _outcome(prediction: dict) -> dict:
    """Return the fields of an `Outcome`."""
    probabilities = [prediction[label] for label in ("negative", "neutral", "positive")]
    if prediction.get("error") is not None or any(map(math.isnan, probabilities)):
        return {"probabilities": [], "reason": prediction.get("error")}
    return {"label": prediction["label"], "probabilities": probabilities, "sarcasm": prediction.get("sarcasm")}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
