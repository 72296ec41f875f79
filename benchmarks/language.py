"""How often English texts are taken for another language, and what detection costs.

    GROUNDSWELL_DATA__DIR=data-folder python -m benchmarks.language --rows 3000

Reads `<dataset>/data.csv` and `data.csv.gz` in the folder, at most `--rows` texts of each dataset, and prints what has another
language, to be read by a person: a few texts of such datasets really are in one.
"""

import argparse
import os
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from data import language
from data.settings_registry import check_settings


def main() -> None:
    """Print the texts with another language, the counts, and the CPU time of a text."""
    check_settings()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3_000)
    chosen = parser.parse_args()
    texts = []
    for file in sorted(Path(os.environ["GROUNDSWELL_DATA__DIR"]).glob("*/data.csv*")):
        column = pd.read_csv(file)["text"].dropna().astype(str)
        texts += column.sample(min(chosen.rows, len(column)), random_state=2).tolist()
    language.language_of("the model is loaded with the first text")
    began = time.process_time()
    found = [language.language_of(text) for text in texts]
    took = time.process_time() - began
    for code, text in zip(found, texts, strict=True):
        if code not in (None, "en"):
            print(code, text[:120].replace("\n", " "))
    counts = Counter("undetermined" if code is None else code if code == "en" else "another" for code in found)
    print(f"{len(texts):,} texts: {dict(counts)}; {1e6 * took / len(texts):.1f} µs of CPU a text")


if __name__ == "__main__":
    main()
