"""FastAPI with the transformers pipeline, as the documentation of the two shows it: float32 torch, one text a request.

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
    """One text, one answer; a plain `def`, which FastAPI runs in its pool of threads."""
    return classifier(tweet.text)[0]  # type: ignore[index]
