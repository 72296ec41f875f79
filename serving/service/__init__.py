"""The HTTP API: requests are batched and classified with the served bundle."""

import os

# BentoML sets this for services of several processes. Ours has one, which would die of these files on a full disk. It is here
# because `prometheus_client` reads it when it is imported, and no module of this package is imported before this one.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
