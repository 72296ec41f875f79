"""Checked text becomes candidates: fine-tuning, VADER, ONNX export, quantization, the MLflow registry."""
