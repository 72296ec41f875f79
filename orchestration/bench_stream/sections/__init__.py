"""One module a measurement: each has `measure(bench)` and gives an outcome."""
