"""What the functions of routes get from the app, as FastAPI dependencies; `create_app` puts it into the app's state."""

from pathlib import Path
from typing import Annotated

from fastapi import Depends, Response
from fastapi.requests import HTTPConnection

from serving.service.inference import InferenceService
from serving.service.middleware.admission import Authenticator
from serving.service.middleware.keys import KEY, Key
from serving.service.panels.api_use import ApiUse
from serving.service.panels.stream import StreamPanel
from serving.service.panels.warehouse import Warehouse

# All are `async`, since FastAPI runs other functions in threads.


async def _inference(connection: HTTPConnection) -> InferenceService:
    return connection.app.state.inference()  # called for each request: the model is loaded after the app is made


async def _authenticator(connection: HTTPConnection) -> Authenticator:
    return connection.app.state.authenticator()


async def _key(connection: HTTPConnection) -> Key | None:
    return connection.scope.get(KEY)


async def _var(connection: HTTPConnection) -> Path:
    return connection.app.state.var


async def _warehouse(connection: HTTPConnection) -> Warehouse:
    return connection.app.state.warehouse


async def _stream(connection: HTTPConnection) -> StreamPanel:
    return connection.app.state.stream


async def _use(connection: HTTPConnection) -> ApiUse:
    return connection.app.state.use


async def not_stored(response: Response) -> None:
    """Add the header that keeps a response out of caches, since it changes all the time."""
    response.headers["cache-control"] = "no-store"


Inference = Annotated[InferenceService, Depends(_inference)]
Authentication = Annotated[Authenticator, Depends(_authenticator)]
Caller = Annotated[Key | None, Depends(_key)]
"""The key of the request; None where keys are off."""
Var = Annotated[Path, Depends(_var)]
"""Folder with the files of training, registry and stream."""
Queries = Annotated[Warehouse, Depends(_warehouse)]
Stream = Annotated[StreamPanel, Depends(_stream)]
Use = Annotated[ApiUse, Depends(_use)]
