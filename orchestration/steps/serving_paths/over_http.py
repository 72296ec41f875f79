"""The paths over HTTP: the service of this checkout, its jobs, and the service inside a built Bento."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from data.errors import BundleError, ServiceError
from data.settings import project_root
from orchestration.local.kafka import free_port
from orchestration.local.programs import Program
from orchestration.progress import report
from orchestration.steps.serving_paths.outcomes import Numbered, Outcome, by_domain, numbered, of_entry, refused, requests_of
from orchestration.steps.serving_paths.request import LIMIT_S, RESPONSE_S, Request, Sent, Skipped, progress_of, require_packages
from orchestration.steps.serving_paths.rows import Row
from serving.bundle import BUNDLE_ENV, MANIFEST, read_bundle
from serving.client import RequestRefused, SentimentClient
from serving.deployment import HOST
from serving.service.build import BENTO_NAME
from serving.service.schemas import MAX_JOB_TEXTS, ClassifyResponse
from serving.settings import ServingSettings
from serving.tiers import BASE

_POLL_S = 0.1
_UNFIT = 422


def send_to_service(request: Request) -> Sent:
    """Send the texts to `POST /v1/classify` of a service of this checkout."""
    require_packages("serve", "bentoml")
    with _service(request, "http", str(project_root())) as url, _client(url) as client:
        return Sent(_classified("http", client, request.rows), "`POST /v1/classify` of `bentoml serve`")


def send_as_jobs(request: Request) -> Sent:
    """Send the texts as jobs, one per domain, and read their results."""
    require_packages("serve", "bentoml")
    with _service(request, "job", str(project_root())) as url, _client(url) as client:
        outcomes = [one for rows in by_domain(request.rows) for one in _job(client, url, rows)]
        return Sent(outcomes, "`POST /v1/jobs` of `bentoml serve`")


def send_to_bento(request: Request) -> Sent:
    """Send the texts to the service inside the newest Bento of the bundle; the code is that of the Bento.

    Raises:
        Skipped: There is no Bento of the bundle.
    """
    require_packages("serve", "bentoml")
    tag = _built_bento(request)
    with _service(request, "bento", tag) as url, _client(url) as client:
        return Sent(_classified("bento", client, request.rows), f"`POST /v1/classify` of `bentoml serve {tag}`")


def _built_bento(request: Request) -> str:
    folder = request.layout.bentoml / "bentos" / BENTO_NAME
    built = sorted(folder.glob("*/bento.yaml"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in built:
        if _fingerprint(file.parent / "src" / "bundle") == request.bundle.fingerprint:
            return f"{BENTO_NAME}:{file.parent.name}"
    raise Skipped(f"No Bento of {request.bundle.manifest.version} is built; `groundswell promote` builds it.")


def _fingerprint(bundle: Path) -> str | None:
    try:
        return read_bundle(bundle).fingerprint if (bundle / MANIFEST).is_file() else None
    except BundleError:  # of an older format: it is of another bundle
        return None


@contextmanager
def _service(request: Request, path: str, target: str) -> Generator[str]:
    """Run `bentoml serve` on a free port until the block ends; yields its address."""
    folder, port = request.own_folder(path), free_port()
    variables = request.environment(folder, BENTOML_HOME=str(request.layout.bentoml.resolve()), BENTOML_DO_NOT_TRACK="1")
    if path == "bento":  # it serves the bundle inside it, with its own code
        variables = {name: value for name, value in variables.items() if name not in (BUNDLE_ENV, "PYTHONPATH")}
    arguments = ["-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    url = f"http://{HOST}:{port}"

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    with Program(path, arguments, variables, folder, work_in=folder) as program:
        program.wait_for(is_ready, ServingSettings.load().ready_timeout_s, progress_of(f"{path}: starting the service"))
        yield url


def _client(url: str) -> SentimentClient:
    return SentimentClient(url, timeout_s=RESPONSE_S)


def _classified(path: str, client: SentimentClient, rows: list[Row]) -> list[Numbered]:
    outcomes: list[Numbered] = []
    for request in requests_of(rows):
        outcomes += _respond(client, request)
        report(f"{path}: {len(outcomes):,} of {len(rows):,} texts")
    return outcomes


def _respond(client: SentimentClient, rows: list[Row]) -> Iterator[Numbered]:
    """Send one request. Where no text of it can be classified the service refuses all of it, and each is sent by itself."""
    try:
        response = client.respond([row.text for row in rows], domain=rows[0].domain, detail=True, tier=BASE)
    except RequestRefused as error:
        yield from _each_alone(rows, error, partial(_respond, client))
        return
    yield from numbered(rows, _entries(response))


def _each_alone(rows: list[Row], error: RequestRefused, send: Callable[[list[Row]], Iterator[Numbered]]) -> Iterator[Numbered]:
    """Send each row by itself, for its own reason; the error of a single row has it."""
    if error.status != _UNFIT:
        raise error
    if len(rows) == 1:
        yield rows[0].number, refused(str(error.found))
        return
    for row in rows:
        yield from send([row])


def _entries(response: ClassifyResponse) -> Iterator[Outcome]:
    return (of_entry(entry.model_dump(exclude_none=True), response.model_version) for entry in response.predictions)


def _job(client: SentimentClient, url: str, rows: list[Row]) -> Iterator[Numbered]:
    """Send rows of one domain as jobs of at most `MAX_JOB_TEXTS` texts."""
    for start in range(0, len(rows), MAX_JOB_TEXTS):
        part = rows[start : start + MAX_JOB_TEXTS]
        try:
            job = client.submit([row.text for row in part], domain=part[0].domain, detail=True, tier=BASE)
        except RequestRefused as error:  # no text of the job can be classified
            yield from _each_alone(part, error, partial(_job, client, url))
            continue
        began = time.monotonic()
        while (job := client.job(job.id)).state != "done":
            if (waited := time.monotonic() - began) > LIMIT_S:
                raise ServiceError(f"A job is not done after {LIMIT_S:g} s.", found=f"{job.done:,} of {job.total:,} texts")
            progress_of(f"job: {job.done:,} of {job.total:,} texts")(waited)
            time.sleep(_POLL_S)
        lines = httpx.get(f"{url}{job.results}", timeout=RESPONSE_S).raise_for_status().content.splitlines()
        yield from numbered(part, (of_entry(json.loads(line)) for line in lines))
