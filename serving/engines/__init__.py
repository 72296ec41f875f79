"""Engines: what computes a model's logits from token ids. One small interface, ONNX Runtime and OpenVINO behind it."""
