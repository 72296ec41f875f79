"""One module per section; each returns an `Outcome`."""
