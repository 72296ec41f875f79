"""FastAPI with the transformers pipeline, as their documentation shows it: float32 torch, one text per request.

Started by `uvicorn fastapi_peer:app`; the checkpoint's folder is in PEER_MODEL. Torch takes its threads from OMP_NUM_THREADS.
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

app = FastAPI()
classifier = pipeline("text-classification", model=os.environ["PEER_MODEL"], device="cpu")


class Tweet(BaseModel):
    """A request."""

    text: str


@app.post("/classify")
def classify(tweet: Tweet) -> dict:
    """Classify one text. It is a plain `def`, which FastAPI runs in its thread pool."""
    return classifier(tweet.text)[0]  # type: ignore[index]
