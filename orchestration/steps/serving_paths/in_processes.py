"""The paths without HTTP: the classifier in this process; stream, Lambda handler and MLflow model each in one of its own."""

from collections.abc import Iterator
from pathlib import Path

from data.readable import MAX_DOCUMENT_CHARS, unreadable
from orchestration.local.programs import Program
from orchestration.progress import report
from orchestration.steps.serving_paths.outcomes import Numbered, Outcome, read_outcomes, refused
from orchestration.steps.serving_paths.request import (
    LIMIT_S,
    OUTCOMES,
    ROWS,
    Request,
    Sent,
    progress_of,
    require_packages,
)
from orchestration.steps.serving_paths.rows import Row, write_rows
from serving.classifier import Classifier
from serving.engines.choice import choose_engine, engine_cache
from serving.settings import ServingSettings
from serving.threads import cpu_quota

_BATCH = 256
_SCRIPT = Path(__file__).with_name("mlflow_script.py")


def classify_here(request: Request) -> Sent:
    """Classify the texts with the classifier, as `groundswell classify` does."""
    threads = cpu_quota()
    choice = choose_engine(request.bundle, ServingSettings.load().engine, threads, engine_cache(request.layout.var))
    classifier = Classifier(request.bundle, threads=threads, engine=choice.engine)
    outcomes: list[Numbered] = []
    for start in range(0, len(request.rows), _BATCH):
        report(f"classify: {start:,} of {len(request.rows):,} texts")
        outcomes += _classified(classifier, request.rows[start : start + _BATCH])
    return Sent(outcomes, "`serving.classifier.Classifier` in this process")


def _classified(classifier: Classifier, rows: list[Row]) -> Iterator[Numbered]:
    reasons = {row.number: unreadable(row.text, MAX_DOCUMENT_CHARS) for row in rows}
    readable = [row for row in rows if reasons[row.number] is None]
    predictions = classifier.classify([row.text for row in readable], domains=[row.domain for row in readable])
    for row, found in zip(readable, predictions, strict=True):
        yield row.number, Outcome(found.label, found.probabilities, None, classifier.name, found.tier, found.head, found.sarcasm)
    yield from ((number, refused(reason)) for number, reason in reasons.items() if reason is not None)


def send_to_stream(request: Request) -> Sent:
    """Produce the texts to a broker, let a worker classify them, and read the warehouse's rows and the dead letters."""
    require_packages("stream", "chdb", "clickhouse_connect", "confluent_kafka")
    return Sent(_in_child(request, "stream"), "in-process broker, worker, rows of the warehouse, dead letters")


def call_lambda(request: Request) -> Sent:
    """Call the Lambda function `api` with the events of API Gateway, as AWS does."""
    require_packages("aws", "mangum")
    return Sent(_in_child(request, "lambda"), "`serving.aws.handlers.api` with events of API Gateway")


def _in_child(request: Request, path: str) -> list[Numbered]:
    folder = request.own_folder(path)
    write_rows(folder / ROWS, request.rows)
    arguments = ["-m", "orchestration.steps.serving_paths.child", path, str(folder)]
    with Program(path, arguments, request.environment(folder), folder) as program:
        program.wait(LIMIT_S, progress_of(path))
    return read_outcomes(folder / OUTCOMES)


def predict_with_mlflow(request: Request) -> Sent:
    """Predict with `mlflow.pyfunc.load_model`: of the registered version of the bundle, else of one that is packed now.

    The process that loads it imports the code inside the model, not that of this checkout.
    """
    require_packages("train", "mlflow")
    folder = request.own_folder("mlflow")
    report("mlflow: the registered version")
    model, note, environment = _mlflow_model(request, folder)
    write_rows(folder / ROWS, request.rows)
    arguments = ["-P", str(_SCRIPT), model, str(folder / ROWS), str(folder / OUTCOMES)]
    kept = {name: value for name, value in request.environment(folder).items() if name != "PYTHONPATH"}
    with Program("mlflow", arguments, kept | environment, folder, work_in=folder) as program:
        program.wait(LIMIT_S, progress_of("mlflow"))
    outcomes = read_outcomes(folder / OUTCOMES)
    return Sent([(number, refused(found.reason) if found.is_refused else found) for number, found in outcomes], note)


def _mlflow_model(request: Request, folder: Path) -> tuple[str, str, dict[str, str]]:
    """Return the model's address, what it is, and the variables with which it is found."""
    from orchestration.steps.tracking import open_tracking
    from training.registry import Registry, save_model
    from training.tracking import MODEL_NAME, TrackingSettings

    layout = request.layout
    if TrackingSettings.load().uri or (layout.var / "mlflow").is_dir():
        tracking = open_tracking(layout)
        if version := Registry(layout.var, tracking).version_of(request.bundle):
            store = {"MLFLOW_TRACKING_URI": tracking.uri, "MLFLOW_REGISTRY_URI": tracking.uri}
            return f"models:/{MODEL_NAME}/{version}", f"`mlflow.pyfunc.load_model`, registered version {version}", store
    report("mlflow: packing the model")
    save_model(request.bundle, folder / "model")
    return str(folder / "model"), "`mlflow.pyfunc.load_model`, packed for this run, not registered", {}
