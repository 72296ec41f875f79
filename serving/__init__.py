"""Serve the promoted model. Imports ONNX Runtime, tokenizers and numpy; never torch, transformers, mlflow or dagster."""
