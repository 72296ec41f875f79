"""Every metric of a stream worker, by name, kind and unit; `/metrics` on a port of its own of 127.0.0.1."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MESSAGES = Counter("groundswell_stream_messages", "Messages committed, dead letters included.")
LABELS = Counter("groundswell_stream_labels", "Messages classified, by label.", ["label"])
TIERS = Counter("groundswell_stream_tiers", "Messages classified, by the tier whose prediction counts.", ["tier"])
CACHED = Counter("groundswell_stream_cached", "Messages whose text was classified before, by the prediction of then.")
POINT = Gauge("groundswell_stream_point_info", "1, labeled with the operating point that classifies now.", ["point"])
EXPECTED = Gauge("groundswell_stream_expected_macro_recall", "Macro-recall expected of that point, on validation rows, 0 to 1.")
OVERLOADED = Gauge(
    "groundswell_stream_overloaded",
    "1 while more messages arrive than the cheapest allowed point can classify, else 0.",
)
LANGUAGES = Counter(
    "groundswell_stream_languages",
    "Messages by language: the usual ones, `other`, `undetermined`. One message in 16 is counted; all, if others are rejected.",
    ["language"],
)
DEAD = Counter("groundswell_stream_dead_letters", "Messages sent to the dead letters.")
STAGE_CPU = Counter(
    "groundswell_stream_stage_cpu_seconds",
    "CPU time of this process by stage, in seconds: decode, tokenize, model, encode, insert, produce, commit.",
    ["stage"],
)
IGNORED = Counter("groundswell_stream_ignored_fields", "Fields of events that nothing reads, by name.", ["field"])
BLOCK_ROWS = Histogram("groundswell_stream_block_rows", "Rows of one insert.", buckets=tuple(4**k for k in range(8)))
WRITE_SECONDS = Histogram("groundswell_stream_write_seconds", "Inserting rows into the warehouse, in seconds.", buckets=_SECONDS)
LATENCY = Histogram(
    "groundswell_stream_latency_seconds", "From the broker's timestamp to written in the warehouse, in seconds.", buckets=_SECONDS
)
NOTICES = Counter("groundswell_stream_notices", "Notices of authors and platforms, by kind.", ["kind"])
FORGOTTEN = Counter("groundswell_stream_forgotten", "Copies of forgotten messages that were left out.")
IN_FLIGHT = Gauge("groundswell_stream_in_flight", "Messages read and not yet committed.")
PAUSED = Gauge("groundswell_stream_paused", "1 while reading waits for the sink, else 0.")
REBALANCES = Counter("groundswell_stream_rebalances", "Times that partitions were assigned, revoked or lost.")
RETRIES = Counter("groundswell_stream_retries", "Failed tries of the sink, by what was unavailable.", ["what"])
MODEL = Gauge("groundswell_stream_model_info", "1, labeled with the version of the model.", ["version"])
ENGINE = Gauge(
    "groundswell_stream_engine_info",
    "1, labeled with the engine that runs the model, its version, and how it was chosen: setting, measured, fallback.",
    ["engine", "version", "chosen"],
)

MAX_FIELDS = 50
"""Names that `IGNORED` counts one by one; each further name counts as `other`."""
_fields: set[str] = set()


def count_ignored(names: Iterable[str]) -> None:
    """Count fields of an event that nothing reads."""
    for name in names:
        if name not in _fields and len(_fields) < MAX_FIELDS and len(name) <= 100:
            _fields.add(name)
        IGNORED.labels(name if name in _fields else "other").inc()
