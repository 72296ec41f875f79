"""The systems under test: the command that starts each, and the settings tried for a peer."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.api.environments import PEERS, peer_python
from benchmarks.api.servers import Spec
from benchmarks.harness.machine import CPUS
from data.settings import project_root
from serving.bundle import Bundle

OURS = "groundswell"
DIRECT = {"fastapi-classifier": "classifier", "fastapi-onnx": "onnx"}
"""The peers that call the same model directly, and what classifies in them."""
SETTINGS: dict[str, list[tuple[int, int]]] = {
    "fastapi": [(1, 1), (1, CPUS), (CPUS, 1)],
    **{name: [(CPUS, 1)] for name in DIRECT},
    "bentoml-batchable": [(1, CPUS), (CPUS, 1)],
    "litserve": [(1, CPUS), (CPUS, 1)],
}
"""Processes, and threads of the model in each; the fastest is kept."""
TITLES = {
    OURS: "Groundswell",
    "fastapi": "FastAPI + pipeline",
    "fastapi-classifier": "FastAPI + our classifier",
    "fastapi-onnx": "FastAPI + ONNX Runtime",
    "bentoml-batchable": "BentoML batchable",
    "litserve": "LitServe",
}
"""In the order of the tables."""


def groundswell(bundle: Bundle, folder: Path, name: str = OURS) -> Spec:
    """Describe the service of this checkout, with an empty `var/`.

    Args:
        bundle: The bundle to serve.
        folder: Parent of its `var/` and of BentoML's home.
        name: Name of its log.
    """
    command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port"]
    environment = {
        "GROUNDSWELL_BUNDLE_DIR": str(bundle.directory),
        "GROUNDSWELL_PATHS__VAR_DIR": str(folder / "var"),
        "GROUNDSWELL_SERVING__PREDICTION_STORE": "memory",
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
        lambda response: [entry["label"] for entry in response["predictions"]],
        "default",
    )


def peer(name: str, setting: tuple[int, int], bundle: Bundle, checkpoint: Path, envs: Path, folder: Path) -> Spec:
    """Describe a peer; `setting` is its number of processes and of threads in each.

    Raises:
        GroundswellError: Its environment cannot be installed.
    """
    workers, threads = map(str, setting)
    environment = {"PEER_MODEL": str(bundle.directory), "PEER_WORKERS": workers, "PEER_THREADS": threads}
    shown = f"{workers} × {threads} threads"
    if name == "fastapi" or name in DIRECT:
        environment |= {"OMP_NUM_THREADS": threads}
        if name in DIRECT:
            python, app = sys.executable, "direct_peer:app"
            environment |= {"PEER_WITH": DIRECT[name], "PYTHONPATH": str(project_root())}
        else:
            python, app = str(peer_python(name, envs)), "fastapi_peer:app"
            environment |= {"PEER_MODEL": str(checkpoint)}
        uvicorn = [python, "-m", "uvicorn", app, "--no-access-log", "--workers", workers, "--port"]
        return Spec(
            name, TITLES[name], lambda port: [*uvicorn, str(port)], PEERS, environment, "/classify", one, single_label, shown
        )
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
            single_label,
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
        lambda response: [entry["label"] for entry in response],
        shown,
    )


def echo() -> Spec:
    """Describe the echo server, which classifies nothing."""
    uvicorn = [sys.executable, "-m", "uvicorn", "echo_peer:app", "--no-access-log", "--port"]

    def labels(response: dict[str, list[dict[str, str]]]) -> list[str]:
        return [entry["label"] for entry in response["predictions"]]

    return Spec("echo", "echo", lambda port: [*uvicorn, str(port)], PEERS, {}, "/echo", many, labels, "1 process")


def many(texts: Sequence[str]) -> str:
    """Return the JSON body of a request for several texts."""
    return json.dumps({"texts": list(texts)})


def one(texts: Sequence[str]) -> str:
    """Return the JSON body of a request for one text."""
    (text,) = texts
    return json.dumps({"text": text})


def single_label(response: dict[str, str]) -> list[str]:
    """Return the label in the response to a request for one text."""
    return [response["label"]]
