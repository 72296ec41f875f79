"""The BentoML service. `bentoml serve` at the root answers with the production bundle; a Bento with the one inside it.

A batch is what has gathered while the batch before it ran: BentoML's batcher decides, the classifier sorts and cuts it.
"""

import os
import time
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import ServiceUnavailable

from data.labels import LABELS
from data.settings import PathSettings
from serving.bundle import Bundle, production_bundle, read_bundle
from serving.service.pages import pages
from serving.service.problems import ProblemDetails
from serving.service.schemas import MAX_TEXTS
from serving.settings import ServingSettings

BUNDLE_ENV = "GROUNDSWELL_BUNDLE_DIR"
_INSIDE = Path(__file__).resolve().parents[2] / "bundle"

_settings = ServingSettings.load()
_answering: dict[str, Any] = {}


def find_bundle() -> Bundle:
    """The bundle to serve: the one named by GROUNDSWELL_BUNDLE_DIR, the one inside the Bento, or production's."""
    if named := os.environ.get(BUNDLE_ENV):
        return read_bundle(Path(named))
    return read_bundle(_INSIDE) if _INSIDE.is_dir() else production_bundle(PathSettings.load().var)


def _model() -> dict[str, Any]:
    if not _answering:
        raise ServiceUnavailable("the model is not loaded yet")
    return _answering


@bentoml.service(
    name="sentiment",
    workers=1,
    http={"host": "127.0.0.1", "port": _settings.port},  # type: ignore[arg-type]
    traffic={"timeout": _settings.deadline_ms / 1000},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(pages(_model), path="/")
class Sentiment:
    """Judges texts."""

    def __init__(self) -> None:
        from serving.classifier import Classifier
        from serving.service import metrics

        bundle = find_bundle()
        self._classifier = Classifier(bundle)
        self._classifier.classify(["a first text, so that the first caller does not pay for loading"])
        self._metrics = metrics
        metrics.MODEL.labels(version=bundle.manifest.version).set(1)
        keep = {"name", "version", "labels", "max_length", "quantization", "data_fingerprint", "metrics", "temperature"}
        _answering.update(bundle.manifest.model_dump(mode="json", include=keep))

    @bentoml.api(
        route="/v1/classify",
        batchable=True,
        max_batch_size=max(_settings.max_batch_texts, MAX_TEXTS),
        max_latency_ms=_settings.deadline_ms,
    )
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        """Judge the texts of all the requests of a batch."""
        started = time.process_time()
        answers, timings = self._classifier.classify_timed(texts)
        found = self._metrics
        found.CPU_SECONDS.inc(time.process_time() - started)
        found.TOKENIZE.observe(timings.tokenize_s)
        found.INFERENCE.observe(timings.inference_s)
        found.BATCH_TEXTS.observe(len(texts))
        for answer in answers:
            found.TEXTS.labels(label=answer.label).inc()
        return [
            {
                "label": answer.label,
                "confidence": answer.confidence,
                "probabilities": dict(zip(LABELS, answer.probabilities, strict=True)),
            }
            for answer in answers
        ]


Sentiment.add_asgi_middleware(ProblemDetails, version=lambda: _model()["version"])  # type: ignore[arg-type]
