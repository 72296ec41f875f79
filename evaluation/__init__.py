"""Candidates are compared on one frozen split: metrics, benchmark, parity, slices, behaviour, gate, report."""
