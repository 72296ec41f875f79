"""Every metric of the service, by name, kind and unit. BentoML's own are off: they have a label for every URL requested."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

REQUESTS = Counter("groundswell_requests", "Requests, by route and HTTP status.", ["route", "status"])
REQUEST_SECONDS = Histogram(
    "groundswell_request_seconds", "From a request's arrival to its response's end, in seconds.", ["route"], buckets=_SECONDS
)
QUEUE = Histogram("groundswell_queue_seconds", "From a request's arrival to its batch's start, in seconds.", buckets=_SECONDS)
TOKENIZE = Histogram("groundswell_tokenize_seconds", "Cleaning and tokenizing one batch, in seconds.", buckets=_SECONDS)
INFERENCE = Histogram("groundswell_inference_seconds", "Running the model on one batch, in seconds.", buckets=_SECONDS)
BATCH_TEXTS = Histogram("groundswell_batch_texts", "Texts of one batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
BATCH_TOKENS = Histogram("groundswell_batch_tokens", "Tokens of one batch.", buckets=tuple(2**k for k in range(4, 16)))
WAITING = Gauge("groundswell_waiting_texts", "Texts of requests left waiting when a batch began.")
CPU_SECONDS = Counter("groundswell_classify_cpu_seconds", "CPU time of the threads that classify, in seconds.")
TEXTS = Counter("groundswell_texts", "Texts classified.", ["label"])
TIERS = Counter("groundswell_tier_texts", "Texts classified, by the tier whose prediction counts.", ["tier"])
POINT = Gauge("groundswell_point_info", "1, labeled with the operating point of requests that name no tier.", ["point"])
EXPECTED = Gauge("groundswell_expected_macro_recall", "Macro-recall expected of that point, on validation rows, 0 to 1.")
OVERLOADED = Gauge(
    "groundswell_overloaded", "1 while more texts arrive than the cheapest operating point allowed can classify, else 0."
)
REQUEST_TEXTS = Counter("groundswell_request_texts", "Texts of HTTP requests, by the domain that the caller named.", ["domain"])
LANGUAGES = Counter(
    "groundswell_text_languages",
    "Texts, cached and rejected ones too, by language: the usual ones, `other`, `undetermined`. Of requests with detail and of "
    "one other request in 16; of all, if other languages are rejected.",
    ["language"],
)
CACHED = Counter(
    "groundswell_cached_texts",
    "Texts served from the cache, by tier: memory, flight (the same text in a concurrent request), store.",
    ["tier"],
)
STORE_UP = Gauge("groundswell_store_up", "1 while the prediction store works, else 0.")
STORE_ERRORS = Counter("groundswell_store_errors", "Operations of the prediction store that failed or timed out.")
JOBS_WAITING = Gauge("groundswell_jobs_waiting_texts", "Texts that wait in jobs.")
JOBS_UP = Gauge("groundswell_jobs_up", "1 while the job store works, else 0.")
JOB_TEXTS = Counter("groundswell_job_texts", "Texts classified for jobs.")
CONNECTIONS = Gauge("groundswell_connections", "Open connections.")
CONNECTIONS_CLOSED = Counter(
    "groundswell_connections_closed", "Connections that the service closed: idle, headers, pipelined, stalled, full.", ["cause"]
)
SHED = Counter("groundswell_shed", "Requests refused.", ["cause"])
MODEL = Gauge("groundswell_model_info", "1, labeled with the version that is served.", ["version"])
ENGINE = Gauge(
    "groundswell_engine_info",
    "1, labeled with the engine that runs the model, its version, and how it was chosen: setting, measured, fallback.",
    ["engine", "version", "chosen"],
)
ENGINE_CPU = Gauge(
    "groundswell_engine_measured_cpu_seconds", "CPU time of a text when the engine was chosen, in seconds, by engine.", ["engine"]
)
