"""The HTTP API: requests are batched and classified with the served bundle."""

from data.library_settings import keep_prometheus_in_memory

keep_prometheus_in_memory()  # here, since no module of this package is imported before this one
