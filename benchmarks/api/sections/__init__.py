"""The sections of the benchmark, one module each: `measure(bench)` returns an `Outcome`."""
