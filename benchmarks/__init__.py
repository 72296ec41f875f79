"""Speed compared with named peers, side by side in one run: `python -m benchmarks.<models, api, stream, lakehouse, dashboard>`.

Imports everything, is imported by its own tests only, and is not part of the installed package.
"""
