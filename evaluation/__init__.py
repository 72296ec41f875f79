"""Candidates are compared on one frozen split: metrics, benchmark, parity, slices, behavior, gate, report."""
