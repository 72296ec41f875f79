"""Paths that run in a process of their own: `python -m orchestration.steps.serving_paths.child PATH FOLDER`.

The folder has the rows; the outcomes are written to it. The environment has the settings.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from data.errors import ServiceError
from orchestration.steps.serving_paths.outcomes import Numbered, numbered, of_entry, refused, requests_of, write_outcomes
from orchestration.steps.serving_paths.request import OUTCOMES, ROWS
from orchestration.steps.serving_paths.rows import Row, read_rows, source_of
from serving.tiers import BASE

_OK, _UNFIT = 200, 422
_FIELDS = ("label", "probabilities", "sarcasm", "tier", "domain", "model_version")
_STORED = (
    "SELECT id, toString(label), probabilities, sarcasm, tier, domain, model_version FROM predictions FINAL "
    "WHERE topic = {topic:String}"
)


def stream(rows: list[Row], var: Path) -> Iterator[Numbered]:
    """Yield the rows of the warehouse, then the dead letters."""
    from serving.settings import ServingSettings
    from serving.streaming.dead_letters import read_dead_letters
    from serving.streaming.replay import replayed
    from serving.streaming.worker.model import ReloadingModel

    model = ReloadingModel(var, ServingSettings.load().engine).current
    with replayed(map(_event, rows), model, var, run_id="reconcile") as done:
        stored = done.client.query(_STORED, parameters={"topic": done.settings.topic}).result_rows
        letters = list(read_dead_letters(done.settings, everything=True)) if done.dead_letters else []
    for identity, *values in stored:
        yield int(identity), of_entry(dict(zip(_FIELDS, values, strict=True)))
    for letter in letters:
        yield int(json.loads(letter.original)["id"]), refused(letter.reason)


def _event(row: Row) -> dict[str, Any]:
    """Return a message. Of every second one the domain is that of its source, the others name it."""
    named = {"domain": row.domain, "source": source_of(None)} if row.number % 2 else {"source": source_of(row.domain)}
    return {"id": str(row.number), "text": row.text, **named}


def lambda_(rows: list[Row], var: Path) -> Iterator[Numbered]:
    """Yield the entries of the function's responses."""
    from serving.aws.handlers import api

    for request in requests_of(rows):
        yield from _invoke(api, request)


def _invoke(api: Any, rows: list[Row]) -> Iterator[Numbered]:
    """Send one request. Where no text of it can be classified the function refuses all of it, and each is sent by itself."""
    asked = {"texts": [row.text for row in rows], "domain": rows[0].domain, "detail": True, "tier": BASE}
    response: Mapping[str, Any] = api(_gateway_event(json.dumps(asked)), None)
    status, body = response["statusCode"], json.loads(response["body"])
    if status == _OK:
        yield from numbered(rows, (of_entry(entry, body["model_version"]) for entry in body["predictions"]))
    elif status != _UNFIT:
        raise ServiceError(f"The function responded with {status}.", found=body.get("detail"))
    elif len(rows) > 1:
        yield from (one for row in rows for one in _invoke(api, [row]))
    else:
        yield rows[0].number, refused(body["detail"])


def _gateway_event(body: str) -> dict[str, Any]:
    """Return the proxy event of API Gateway (REST) for `POST /v1/classify`."""
    return {
        "resource": "/{proxy+}",
        "path": "/v1/classify",
        "httpMethod": "POST",
        "queryStringParameters": None,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": None,
        "pathParameters": None,
        "requestContext": {"stage": "v1", "identity": {"apiKeyId": "k1", "sourceIp": "203.0.113.7"}, "httpMethod": "POST"},
        "body": body,
        "isBase64Encoded": False,
    }


def main(path: str, folder: Path) -> None:
    """Send the rows of the folder and write the outcomes. Only errors are logged: no text is."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    send = {"stream": stream, "lambda": lambda_}[path]
    write_outcomes(folder / OUTCOMES, list(send(read_rows(folder / ROWS), folder / "var")))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # an open service would keep its threads, and they this process
