"""Every metric of the service, by name, kind and unit. BentoML adds its own: requests, their duration, adaptive batch sizes."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

TOKENIZE = Histogram("groundswell_tokenize_seconds", "Cleaning and tokenizing one batch, in seconds.", buckets=_SECONDS)
INFERENCE = Histogram("groundswell_inference_seconds", "Running the model on one batch, in seconds.", buckets=_SECONDS)
BATCH_TEXTS = Histogram("groundswell_batch_texts", "Texts of one batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
CPU_SECONDS = Counter("groundswell_classify_cpu_seconds", "Processor time of the process spent judging, in seconds.")
TEXTS = Counter("groundswell_texts", "Texts judged.", ["label"])
MODEL = Gauge("groundswell_model_info", "1, labelled with the version that answers.", ["version"])
