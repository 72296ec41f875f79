"""A curl command and a Python program for each operation of the API, as `/docs` shows them; a test runs each of them."""

import json
from typing import Any
from urllib.parse import urlencode

BASE = "http://127.0.0.1:3000"
"""Address in the samples; `/docs` replaces it by its own."""
KEY_VARIABLE = "GROUNDSWELL_KEY"


def samples_of(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any], *, keys: bool) -> list[dict[str, str]]:
    """Make the samples of an operation, as `x-codeSamples`; their values are the examples that the routes declare.

    Args:
        path: Path of the operation.
        method: In lower case.
        operation: Operation of the OpenAPI document.
        schemas: The schemas of the document.
        keys: Whether the samples send an API key.
    """
    body, query = example_of(operation, schemas), {}
    for parameter in operation.get("parameters", []):
        if parameter["required"]:
            value = parameter["schema"]["examples"][0]
            path = path.replace(f"{{{parameter['name']}}}", value)
            query |= {parameter["name"]: value} if parameter["in"] == "query" else {}
    route = f"{path}?{urlencode(query)}" if query else path
    return [
        {"lang": "Shell", "label": "curl", "source": _curl(route, method, body, keys)},
        {"lang": "Python", "label": "Python", "source": _python(route, method, body, keys)},
    ]


def example_of(operation: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return the example of an operation's body; None: it has no body."""
    if "requestBody" not in operation:
        return None
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    (example,) = schemas[name]["examples"]
    return {field: example[field] for field in schemas[name]["properties"] if field in example}


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
