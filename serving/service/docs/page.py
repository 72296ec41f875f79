"""`/docs`: the OpenAPI document as one page of plain HTML, with a form for each operation. All content comes from the service."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from serving.service.docs.openapi import openapi
from serving.service.docs.samples import BASE, example_of
from serving.service.problems import CATALOG

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_SCRIPT = (_HERE / "page.js").read_text(encoding="utf-8")
METHODS = ("get", "post", "delete")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: its own style and script, and requests to the service."""


def docs_page(address: str, *, keys: bool) -> str:
    """Render the page.

    Args:
        address: Address of the service as the reader reached it, such as http://127.0.0.1:3000; the samples use it.
        keys: Whether API keys are on.
    """
    return _page(keys).replace(BASE, escape(address))


@cache
def _page(keys: bool) -> str:
    document = openapi(keys)
    tags = [tag["name"] for tag in document["tags"]]
    operations = [
        (path, method, methods[method]) for path, methods in document["paths"].items() for method in METHODS if method in methods
    ]
    by_tag = {tag: [each for each in operations if each[2]["tags"] == [tag]] for tag in tags}
    links = "".join(f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a></li>' for tag in (*tags, "Problems", "Types"))
    sections = "".join(
        f'<section id="{_anchor(tag["name"])}"><h2>{escape(tag["name"])}</h2><p>{_words(tag["description"])}</p>'
        f"{''.join(_operation(*each, document['components']['schemas'], keys) for each in by_tag[tag['name']])}</section>"
        for tag in document["tags"]
    )
    key = (
        '<p class="key"><label for="key">API key, for the forms on this page</label> '
        '<input id="key" type="password" autocomplete="off" placeholder="gs_…"></p>'
        if keys
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Groundswell API</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>
<a class="skip" href="#main">Skip to the content</a>
<header><h1>Groundswell API</h1><nav aria-label="Sections"><ul>{links}<li><a href="/openapi.json">OpenAPI 3.1</a></li>
<li><a href="/">Dashboard</a></li></ul></nav></header>
<main id="main">{_paragraphs(document["info"]["description"])}{key}{sections}
{_problems(document["x-problems"])}{_types(document["components"]["schemas"])}</main>
<script>{_SCRIPT}</script></body></html>"""


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any], keys: bool) -> str:
    identity = operation["operationId"]
    lock = ""
    if keys and "x-scope" in operation:
        lock = f'<p class="lock">🔒 Needs an API key; scope: <code>{escape(operation["x-scope"])}</code>.</p>'
    body = operation.get("requestBody")
    return f"""<article id="{identity}"><h3><span class="method {method}">{method.upper()}</span> <code>{escape(path)}</code>
<span class="summary">{escape(operation["summary"])}</span></h3><p>{_words(operation["description"])}</p>{lock}
{_parameters(operation.get("parameters", []))}
{f"<h4>Body</h4>{_body(body)}" if body else ""}
<h4>Responses</h4>{_responses(operation)}
<h4>Samples</h4>{"".join(_sample(each) for each in operation["x-codeSamples"])}
{_form(path, method, operation, example_of(operation, schemas))}</article>"""


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = [
        (f"<code>{escape(each['name'])}</code>", each["in"], _type(each["schema"]), _words(each.get("description", "")))
        for each in parameters
    ]
    return f"<h4>Parameters</h4>{_table(('Name', 'In', 'Type', 'Description'), rows)}"


def _body(body: dict[str, Any]) -> str:
    return "".join(f"<p><code>{escape(kind)}</code>: {_type(of['schema'])}</p>" for kind, of in body["content"].items())


def _responses(operation: dict[str, Any]) -> str:
    names = operation.get("x-problems", [])
    rows = [
        (
            status,
            " or ".join(_type(of.get("schema", {})) for of in each.get("content", {}).values()) or "–",
            _words(each["description"]),
        )
        for status, each in operation["responses"].items()
        if status < "400" or not names
    ]
    found = [kind for kind in CATALOG if kind.name in names]
    links = ", ".join(f'<a href="#{kind.name}">{kind.status} {escape(kind.title)}</a>' for kind in found)
    return _table(("Status", "Type", "Description"), rows) + (f"<p>Problems: {links}.</p>" if links else "")


def _sample(sample: dict[str, str]) -> str:
    label = escape(sample["label"])
    return f'<details><summary>{label}</summary><pre tabindex="0" aria-label="{label}">{escape(sample["source"])}</pre></details>'


def _form(path: str, method: str, operation: dict[str, Any], body: Any) -> str:
    """Render a form that the page's script sends."""
    identity = operation["operationId"]
    fields = []
    for each in operation.get("parameters", []):
        name, place = escape(each["name"]), each["in"]
        fields.append(
            f'<p><label for="{identity}-{name}">{name}</label> <input id="{identity}-{name}" name="{name}" data-in="{place}"></p>'
        )
    if body is not None:
        example = escape(json.dumps(body, indent=2))
        fields.append(
            f'<p><label for="{identity}-body">Body</label> <textarea id="{identity}-body" rows="6">{example}</textarea></p>'
        )
    return f"""<details><summary>Try it</summary><form data-path="{escape(path)}" data-method="{method.upper()}">{"".join(fields)}
<p><button type="submit">Send {method.upper()} {escape(path)}</button></p>
<pre tabindex="0" aria-label="Response" role="status"></pre></form></details>"""


def _problems(catalog: Iterable[dict[str, Any]]) -> str:
    rows = [
        (
            str(each["status"]),
            f'<span id="{each["type"].partition("#")[2]}">{escape(each["title"])}</span>',
            _words(each["meaning"]),
        )
        for each in catalog
    ]
    return (
        '<section id="problems"><h2>Problems</h2><p>Every error is one of these. Its <code>type</code> links here.</p>'
        f"{_table(('Status', 'Title', 'Meaning'), rows)}</section>"
    )


def _types(schemas: dict[str, Any]) -> str:
    parts = []
    for name, schema in schemas.items():
        rows = [
            (f"<code>{escape(field)}</code>", _type(of), _words(of.get("description", "")))
            for field, of in schema.get("properties", {}).items()
        ]
        fields = _table(("Field", "Type", "Description"), rows) if rows else f"<p>{_type(schema)}</p>"
        about = f"<p>{_words(schema.get('description', ''))}</p>"
        parts.append(f'<article id="type-{escape(name)}"><h3><code>{escape(name)}</code></h3>{about}{fields}</article>')
    return f'<section id="types"><h2>Types</h2>{"".join(parts)}</section>'


def _type(schema: dict[str, Any]) -> str:
    """Render a type in one line, with a link if it has a name."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#type-{escape(name)}">{escape(name)}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(map(_type, choices))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    return escape(schema.get("type", "any"))


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{heads[0]}, {heads[1]} …">{table}</div>'


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_words(part)}</p>" for part in text.strip().split("\n\n"))


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _anchor(name: str) -> str:
    return name.lower()
