"""A curl command and a Python program for each operation of the API, as `/docs` shows them; a test runs each of them."""

import json
from typing import Any
from urllib.parse import urlencode

BASE = "http://127.0.0.1:3000"
"""Address in the samples; `/docs` replaces it by its own."""
KEY_VARIABLE = "GROUNDSWELL_KEY"
JOB = "4c1f0a9e5b7d2c3a6e8f9b10"
"""Example of a job id."""
ALERT = "9f2c41d07be35a68"
"""Example of an alert id."""


def samples_of(
    path: str, method: str, operation: dict[str, Any], parameters: list[dict[str, Any]], *, keys: bool
) -> list[dict[str, str]]:
    """Make the samples of an operation, as `x-codeSamples`.

    Args:
        path: Path of the operation; `{id}` is the id of a job or an alert.
        method: In lower case.
        operation: Operation of the OpenAPI document; its example body is in `EXAMPLES`.
        parameters: Parameters of the path.
        keys: Whether the samples send an API key.
    """
    body = EXAMPLES.get(operation["operationId"])
    route = path.replace("{id}", ALERT if path.startswith("/v1/alerts/") else JOB) if parameters else path
    if query := QUERIES.get(operation["operationId"]):
        route = f"{route}?{urlencode(query)}"
    return [
        {"lang": "Shell", "label": "curl", "source": _curl(route, method, body, keys)},
        {"lang": "Python", "label": "Python", "source": _python(route, method, body, keys)},
    ]


EXAMPLES: dict[str, Any] = {
    "classify": {"texts": ["Great service, thank you!", "Three hours on hold. Never again."], "detail": True},
    "submitJob": {"texts": ["Great service, thank you!", "Three hours on hold. Never again."]},
    "correct": {"text": "Oh great, delayed again.", "label": "negative", "by": "desk 4"},
    "acknowledge_alert": {"by": "desk 4"},
    "mute_alert": {"by": "desk 4", "minutes": 60},
}
"""Example bodies by operation."""
QUERIES: dict[str, dict[str, str]] = {
    "panel_comparison": {"left": "vader", "right": "minilm"},
    "panel_errors": {"name": "minilm", "label": "negative", "predicted": "positive"},
}
"""Required query parameters by operation."""


def _curl(route: str, method: str, body: Any, keys: bool) -> str:
    parts = ["curl"]
    if method != "get" and not (method == "post" and body):
        parts.append(f"-X {method.upper()}")
    address = f"'{BASE}{route}'" if "?" in route else f"{BASE}{route}"
    lines = [f"{' '.join(parts)} {address}"]
    if keys:
        lines.append(f'-H "Authorization: Bearer ${KEY_VARIABLE}"')
    if body:
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    return " \\\n  ".join(lines)


def _python(route: str, method: str, body: Any, keys: bool) -> str:
    arguments = [f'"{BASE}{route}"']
    if keys:
        arguments.append(f'headers={{"Authorization": f"Bearer {{os.environ[\'{KEY_VARIABLE}\']}}"}}')
    if body:
        arguments.append(f"json={json.dumps(body).replace(': true', ': True')}")
    call = f"response = httpx.{method}({', '.join(arguments)})"
    if len(call) > 100:
        call = f"response = httpx.{method}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    imports = ["import os\n" * keys, "import httpx\n"]
    return "\n".join([*filter(None, imports), call, "print(response.raise_for_status().text)"])
