"""The BentoML service. `bentoml serve` at the root serves the production bundle; a Bento serves the bundle inside it."""

import os
import signal
import sys
import threading
import time
from functools import cache
from typing import Any

import bentoml

from data.errors import GroundswellError, SettingsError
from data.settings import PathSettings
from data.settings_registry import check_settings
from serving.bundle import served_bundle
from serving.processes import settle_memory
from serving.service import handover, problems
from serving.service.app import Shortcut, classify_app, create_app
from serving.service.inference import InferenceService
from serving.service.logs import log
from serving.service.middleware.admission import Admission, Authenticator, listening, require_keys
from serving.service.middleware.edge import install
from serving.service.middleware.keys import keys_of
from serving.service.middleware.observing import Observing
from serving.service.problems import Refused
from serving.service.readiness import Probes
from serving.settings import ServingSettings
from serving.threads import count_processes

try:
    check_settings()
    _settings = ServingSettings.load()
except SettingsError as error:
    sys.exit(str(error))
_parent = os.getppid()
_limit_s = _settings.deadline_ms / 1000 + 5
"""Longest wait for the start of a response; the batcher's own deadline is shorter."""
_loaded: list[InferenceService] = []


@cache
def _authenticator() -> Authenticator:
    url = _settings.redis_url.get_secret_value() if _settings.redis_url else None
    if not _settings.keys:
        return Authenticator(None)
    var = PathSettings.load().var
    return Authenticator(keys_of(var), url, var / "service" / "rates-1")


def _current() -> InferenceService:
    if not _loaded:
        raise Refused(problems.NO_MODEL, "The model is not loaded; the service is starting or stopping.", retry_after_s=1)
    return _loaded[0]


def _full() -> int | None:
    return _loaded[0].full() if _loaded else None


_app = create_app(_current, _authenticator)
_admission: dict[str, Any] = {"authenticator": _authenticator, "full": _full, "hosts": frozenset(_settings.hosts)}
_direct = Observing(Admission(classify_app(_app), **_admission), limit_s=_limit_s)
_processes = handover.given_processes() or count_processes(_settings)
_connections, _files = install(-(-_settings.max_connections // _processes), lambda app: Shortcut(app, _direct))
_number = bentoml.server_context.worker_index or 1
handover.install(_number, _processes)  # both before uvicorn is configured


@bentoml.service(
    name="sentiment",
    workers=_processes,
    http={"host": "127.0.0.1", "port": _settings.port},  # type: ignore[arg-type]
    traffic={"timeout": _limit_s + 10},  # ours is shorter, and responds with a problem
    metrics={"enabled": False},  # ours are at /metrics; BentoML's have a label for every URL requested
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},  # a span per request cost a tenth of the throughput, even without a collector
)
@bentoml.asgi_app(_app, path="/")
class Sentiment:
    """Classifies texts; the routes are in `routers.py`."""

    def __init__(self) -> None:
        threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
        try:
            require_keys(_settings.keys, listening())
            _loaded.append(InferenceService(served_bundle(), _settings, _processes, _number, handover.service_folder()))
            settle_memory()
            log().info("starting", max_connections=_connections, open_files=_files)
        except GroundswellError as error:  # BentoML would restart this process forever, with the same result
            sys.stderr.write(f"{error}\n")
            os.kill(os.getppid(), signal.SIGTERM)
            raise

    @bentoml.on_shutdown
    async def drain(self) -> None:
        """Classify the texts that wait, then stop."""
        await _loaded.pop().close()


def _end_with_parent() -> None:
    """End when BentoML's parent process has ended, however it did: nothing else would stop this one, and it holds the port."""
    while os.getppid() == _parent:  # macOS has no event for it
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


# The first is the outermost.
Sentiment.add_asgi_middleware(Observing, limit_s=_limit_s)  # type: ignore[arg-type]
Sentiment.add_asgi_middleware(Probes, routes=_app)  # type: ignore[arg-type]
Sentiment.add_asgi_middleware(Admission, **_admission)  # type: ignore[arg-type]
