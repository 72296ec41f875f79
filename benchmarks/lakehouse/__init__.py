"""Benchmark of the lakehouse: throughput of Gold compared with peers, age of rows in Gold, number of files."""
