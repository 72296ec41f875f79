"""One module a step. An asset gathers its inputs, calls one function of `orchestration/steps/`, and returns metadata."""
