"""The four servers: what starts each, and the settings that are tried for a peer."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data.settings import project_root
from orchestration.bench_api.environments import PEERS, peer_python
from orchestration.bench_api.servers import PROCESSORS, Spec
from serving.bundle import Bundle

OURS = "groundswell"
SETTINGS: dict[str, list[tuple[int, int]]] = {
    "fastapi": [(1, 1), (1, PROCESSORS), (PROCESSORS, 1)],
    "bentoml-batchable": [(1, PROCESSORS), (PROCESSORS, 1)],
    "litserve": [(1, PROCESSORS), (PROCESSORS, 1)],
}
"""Processes, and threads of the model in each; the fastest is kept."""
TITLES = {
    OURS: "Groundswell",
    "fastapi": "FastAPI + pipeline",
    "bentoml-batchable": "BentoML batchable",
    "litserve": "LitServe",
}
"""In the order in which they are shown."""


def groundswell(bundle: Bundle, folder: Path, name: str = OURS) -> Spec:
    """The service of this checkout, with nothing kept from earlier runs.

    Args:
        bundle: What it serves.
        folder: Its `var/` and BentoML's home.
        name: What its log is called.
    """
    command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port"]
    environment = {
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
        "GROUNDSWELL_SERVING__ANSWERS": "memory",
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "1",
    }
    return Spec(
        name,
        TITLES[OURS],
        lambda port: [*command, str(port)],
        project_root(),
        environment,
        "/v1/classify",
        many,
        lambda answer: [entry["label"] for entry in answer["predictions"]],
        "as it comes",
    )


def peer(name: str, setting: tuple[int, int], bundle: Bundle, checkpoint: Path, envs: Path, folder: Path) -> Spec:
    """A peer with so many processes and threads.

    Raises:
        GroundswellError: Its environment cannot be made.
    """
    workers, threads = map(str, setting)
    environment = {"PEER_MODEL": str(bundle.directory), "PEER_WORKERS": workers, "PEER_THREADS": threads}
    shown = f"{workers} × {threads} threads"
    if name == "fastapi":
        python = str(peer_python("fastapi", envs))
        uvicorn = [python, "-m", "uvicorn", "fastapi_peer:app", "--no-access-log", "--workers", workers, "--port"]
        environment |= {"PEER_MODEL": str(checkpoint), "OMP_NUM_THREADS": threads}
        return Spec(name, TITLES[name], lambda port: [*uvicorn, str(port)], PEERS, environment, "/classify", one, of_one, shown)
    if name == "litserve":
        python = str(peer_python("litserve", envs))
        return Spec(
            name,
            TITLES[name],
            lambda port: [python, "litserve_peer.py", str(port)],
            PEERS,
            environment,
            "/predict",
            one,
            of_one,
            shown,
        )
    command = [sys.executable, "-m", "bentoml", "serve", "bentoml_peer:Batchable", "--host", "127.0.0.1", "--port"]
    environment |= {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "1"}
    return Spec(
        name,
        TITLES[name],
        lambda port: [*command, str(port)],
        PEERS,
        environment,
        "/classify",
        many,
        lambda answer: [entry["label"] for entry in answer],
        shown,
    )


def many(texts: Sequence[str]) -> str:
    """A request for several texts."""
    return json.dumps({"texts": list(texts)})


def one(texts: Sequence[str]) -> str:
    """A request for the one text."""
    (text,) = texts
    return json.dumps({"text": text})


def of_one(answer: dict[str, str]) -> list[str]:
    """The label of an answer to one text."""
    return [answer["label"]]
