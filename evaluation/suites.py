"""Sources of behavioral cases: the CheckList suite in the local data folder, and our own suite in `configs/`."""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from data.domains import GENERAL
from data.errors import MalformedData, SettingsError
from data.labels import LABEL_IDS, LABELS
from data.settings import project_root, read_yaml

Kind = Literal["MFT", "INV", "DIR"]
Rule = Literal["positive_not_down", "positive_not_up", "confidence_not_down", "confidence_not_up"]
CHECKLIST_FOLDER = "checklist_sentiment"
SARCASTIC_CASES = 400
TOLERANCE = 0.1
"""Allowed change of a probability in the wrong direction; 0 to 1."""

# The expectations in the wording of CheckList.
_RULES: tuple[tuple[str, Rule], ...] = (
    ("probability of positive to not go down", "positive_not_down"),
    ("probability of positive to not go up", "positive_not_up"),
    ("confidence to not go down", "confidence_not_down"),
    ("confidence to not go up", "confidence_not_up"),
    ("should not be more confident", "confidence_not_up"),
)


@dataclass(frozen=True)
class Case:
    """One case: an MFT case has one text and its correct labels; other cases have an original and its variants."""

    suite: str
    test: str
    kind: Kind
    capability: str
    texts: tuple[str, ...]
    right: frozenset[int] = frozenset()
    rule: Rule | None = None
    tolerance: float = TOLERANCE
    domain: str = GENERAL
    """Of its texts, for models with heads for domains."""


def _sample(items: Sequence[Any], most: int, *, seed: int, name: str) -> list[Any]:
    """Return at most `most` items in their order; depends only on the seed and the name of the test."""
    if len(items) <= most:
        return list(items)
    chosen = np.random.default_rng([seed, zlib.crc32(name.encode())]).choice(len(items), size=most, replace=False)
    return [items[index] for index in sorted(chosen)]


def sarcastic_cases(frame: pd.DataFrame, *, most: int = SARCASTIC_CASES, seed: int = 0) -> list[Case]:
    """Return one case for each sarcastic text, at most `most` of a dataset: whatever it is, it is not positive.

    Sarcasm praises what it blames. Its datasets label no sentiment, so negative and neutral are both right.

    Args:
        frame: Labeled text, columns of `data.labeled_text.LABELED_TEXT`.
        most: Maximum cases of a dataset, a seeded sample.
        seed: Of the sample.
    """
    right = frozenset(LABEL_IDS[label] for label in ("negative", "neutral"))
    cases: list[Case] = []
    for source, rows in frame[frame["sarcasm"].eq(True).fillna(False).astype(bool)].groupby("source", sort=True):
        test = f"sarcasm of {source} is not positive"
        chosen = _sample(list(zip(rows["text"], rows["domain"], strict=True)), most, seed=seed, name=test)
        cases += [Case("sarcasm", test, "MFT", str(source), (text,), right, domain=domain) for text, domain in chosen]
    return cases


def _rule(test: str, description: str) -> Rule:
    words = re.sub(r"\s+", " ", description.lower())
    for phrase, rule in _RULES:
        if phrase in words:
            return rule
    raise MalformedData(
        f"The expectation of CheckList test {test!r} is unknown.",
        found=description.strip(),
        expected="one of: " + "; ".join(phrase for phrase, _ in _RULES),
    )


def load_checklist(data_dir: Path, *, cases_per_test: int = 100, variants_per_case: int = 4, seed: int = 0) -> list[Case]:
    """Read the CheckList sentiment suite, a seeded sample of each test.

    Args:
        data_dir: The local data folder; the suite is its folder `checklist_sentiment/`.
        cases_per_test: Maximum cases per test.
        variants_per_case: Maximum variants of an INV or DIR group, in addition to the original.
        seed: Seed of the sample; the sample of a test does not depend on other tests.

    Returns:
        Cases; none if the folder does not exist (the suite is optional; `load_cases` logs that it is missing).

    Raises:
        MalformedData: A file cannot be read, or a label or an expectation is unknown.
    """
    folder = data_dir / CHECKLIST_FOLDER
    if not folder.is_dir():
        return []
    try:
        with gzip.open(folder / "mft.csv.gz", "rt", encoding="utf-8", newline="") as file:
            functional = list(csv.DictReader(file))
        with gzip.open(folder / "perturbation_groups.jsonl.gz", "rt", encoding="utf-8") as file:
            groups = [json.loads(line) for line in file]
        cases: list[Case] = []
        for test, rows in _by_test(functional).items():
            for row in _sample(rows, cases_per_test, seed=seed, name=test):
                right = _right(test, row["label"])
                cases.append(Case("checklist", test, "MFT", row["capability"], (row["text"],), right))
        for test, rows in _by_test(groups).items():
            kind: Kind = "INV" if rows[0]["type"] == "INV" else "DIR"
            rule = _rule(test, rows[0]["description"]) if kind == "DIR" else None
            stated = re.search(r"tolerance\s*=\s*([\d.]+\d)", rows[0]["description"])
            tolerance = float(stated.group(1)) if stated else TOLERANCE
            for row in _sample(rows, cases_per_test, seed=seed, name=test):
                original, *variants = row["texts"]
                some = _sample(variants, variants_per_case, seed=seed, name=f"{test}/{row['group']}")
                texts = (original, *some)
                cases.append(Case("checklist", test, kind, row["capability"], texts, rule=rule, tolerance=tolerance))
    except (OSError, EOFError, ValueError, KeyError, csv.Error, zlib.error) as error:
        raise MalformedData(
            f"The CheckList suite in {folder} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            expected="mft.csv.gz (text, label, capability, test) and perturbation_groups.jsonl.gz (test, type, texts)",
            remedy="Copy the folder again, or move it away: the suite is optional.",
        ) from error
    return cases


def _by_test(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    tests: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tests.setdefault(row["test"], []).append(row)
    return tests


def _right(test: str, label: str) -> frozenset[int]:
    if label in LABEL_IDS:
        return frozenset({LABEL_IDS[label]})
    if label == "not_negative":
        return frozenset({LABEL_IDS["neutral"], LABEL_IDS["positive"]})
    raise MalformedData(f"Test {test!r} expects an unknown label.", found=label, expected=f"{', '.join(LABELS)}, not_negative")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OwnTest(_Strict):
    test: str
    capability: str
    kind: Kind
    label: str | None = None
    rule: Rule | None = None
    tolerance: float = TOLERANCE
    texts: list[str] = []
    each_with: list[str] = []
    """Each text is a case with each of these in the place of its {}."""
    groups: list[list[str]] = []

    def cases(self) -> list[str]:
        """Return the texts of an MFT test."""
        if not self.each_with:
            return self.texts
        return [text.replace("{}", sign) for text in self.texts for sign in self.each_with]


class _OwnSuite(_Strict):
    tests: list[_OwnTest]


def load_own_suite(path: Path | None = None) -> list[Case]:
    """Read our own suite, `configs/behavior.yaml`.

    Raises:
        SettingsError: The file cannot be read or has an unknown key, or a test lacks its label, rule, texts or groups.
    """
    path = path or project_root() / "configs" / "behavior.yaml"
    try:
        suite = _OwnSuite(**read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{path} is invalid at {where}.", found=first["input"], expected=first["msg"]) from None
    cases: list[Case] = []
    for test in suite.tests:
        common = ("own", test.test, test.kind, test.capability)
        if test.kind == "MFT" and test.label and test.texts:
            right = _right(test.test, test.label)
            cases += [Case(*common, (text,), right) for text in test.cases()]
        elif test.kind != "MFT" and test.groups and (test.rule or test.kind == "INV"):
            cases += [Case(*common, tuple(g), rule=test.rule, tolerance=test.tolerance) for g in test.groups]
        else:
            raise SettingsError(
                f"Test {test.test!r} in {path} is incomplete.",
                expected="MFT: label and texts; INV: groups; DIR: rule and groups",
            )
    return cases
