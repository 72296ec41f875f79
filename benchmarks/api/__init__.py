"""`make bench-api`: the service under load compared with named peers; see `__main__.py`."""
