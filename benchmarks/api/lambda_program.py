"""A fresh process with the Lambda handler: the time to its first response, and the cost of a text compared with the bare model.

`sections/lambda_handler.py` starts it with two arguments: the time of the start, and a file of texts.
"""

import json
import sys
import time
from pathlib import Path


def event(text: str) -> dict:
    """Return API Gateway's proxy event for one text."""
    return {
        "resource": "/v1/classify",
        "path": "/v1/classify",
        "httpMethod": "POST",
        "headers": {"content-type": "application/json"},
        "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
        "body": json.dumps({"texts": [text]}),
        "isBase64Encoded": False,
    }


def main() -> None:
    """Handle the first text, then the others in turns with the bare classifier; print one JSON object."""
    started, file = float(sys.argv[1]), Path(sys.argv[2])
    texts = file.read_text(encoding="utf-8").splitlines()
    from serving.aws import handlers

    log, sys.stdout = sys.stdout, Path("/dev/null").open("w")  # noqa: SIM115 - the handler's log lines
    first = handlers.api(event(texts[0]), None)
    cold_s = time.monotonic() - started
    assert first["statusCode"] == 200, first
    from serving.bundle import served_bundle
    from serving.classifier import Classifier

    bare = Classifier(served_bundle(), threads=1)
    bare.classify(texts[:8])
    handler_s: list[float] = []
    bare_s: list[float] = []
    for index, text in enumerate(texts[1:]):
        # The second call finds the text's shape in the CPU caches, so the order alternates.
        sides = [(handler_s, handlers.api, (event(text), None)), (bare_s, bare.classify, ([text],))]
        for times, work, arguments in sides if index % 2 else reversed(sides):
            begun = time.perf_counter()
            work(*arguments)
            times.append(time.perf_counter() - begun)
    json.dump({"cold_s": cold_s, "handler_s": handler_s, "bare_s": bare_s}, log)


if __name__ == "__main__":
    main()
