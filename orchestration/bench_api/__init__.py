"""`make bench-api`: the service under load beside named peers; see `__main__.py`."""
