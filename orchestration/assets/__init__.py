"""One module a step. An asset gathers its inputs, calls one plain function of `orchestration/steps/`, and says what came out."""
