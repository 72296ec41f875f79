"""The floor of any HTTP server here: uvicorn with an app that reads a body and sends the same response each time.

`python -m uvicorn echo_peer:app`.
"""

from typing import Any

BODY = b'{"model_version":"none","predictions":[{"label":"neutral","confidence":0.5}]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Handle one request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
