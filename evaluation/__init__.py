"""Comparison of candidates on one frozen split: metrics, cost, parity, slices, behavior, promotion gate, reports."""
