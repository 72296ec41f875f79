"""One module a section: each gives an `Outcome`."""
