"""The promoted model answers. Holds ONNX Runtime, tokenizers and numpy; never torch, transformers, mlflow or dagster."""
