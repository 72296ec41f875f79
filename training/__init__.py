"""Candidates from checked text: fine-tuning, VADER, ONNX export, quantization, the MLflow registry."""
