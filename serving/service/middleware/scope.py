"""What the server leaves in a request's ASGI scope for the routes; without imports, since some images have no uvicorn."""

GONE = "groundswell.gone"
"""An `asyncio.Future` that is done when the connection is closed."""
