"""What is measured, a module each: `measure(bench)` gives an `Outcome`."""
