"""Generate a folder of raw tweets with the faults of real dumps, and the expected content of the lakehouse's tables."""

import json
import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from data.cleaning import clean
from data.errors import MalformedData
from data.labels import LABELS
from data.readable import MAX_TEXT_CHARS

SPAN = timedelta(hours=6)
"""Time from the first tweet to the arrival of the last file."""
BETWEEN_FILES = timedelta(minutes=1)
FEWEST = 20
"""Minimum number of lines: each single fault and some tweets."""
DUPLICATED, CORRUPT, EMPTY, CORRECTED, LATE = 0.05, 0.02, 0.01, 0.01, 0.002
"""Shares of all lines, 0 to 1."""

REASONS = {
    "cut": "not json",
    "plain text": "not json",
    "array": "not json",
    "number": "not json",
    "string": "not json",
    "null": "not json",
    "no UTF-8": "not json",
    "text null": "no text",
    "id null": "no id",
    "spaces": "blank text",
    "text missing": "no text",
    "id missing": "no id",
    "zero width": "blank text",
    "empty object": "no id",
    "empty text": "blank text",
    "no date": "created_at unreadable",
    "no such date": "created_at unreadable",
    "1969": "created_at before 1970",
    "2099": "created_at in the future",
    "long": "text too long",
    "null byte": "null bytes",
}
"""The reject reason of each fault."""
_CORRUPT = [fault for fault, reason in REASONS.items() if reason == "not json"]
_EMPTY = [fault for fault, reason in REASONS.items() if reason in {"no text", "no id", "blank text"}]
_SINGLE = [fault for fault in REASONS if fault not in {*_CORRUPT, *_EMPTY}]

_NAMES = {
    "negative": ("@harbourair", "@HarbourAir", "#refund"),
    "neutral": ("@northline", "@NorthLine", "#timetable"),
    "positive": ("@quietphone", "#launchday", "#LaunchDay"),
}
_SWINGS = "#delay"
"""A hashtag that appears mostly in non-negative tweets for two thirds of the time, and in negative ones after that."""
_MASK = re.compile(r"(?<![\w@])@user\b(?!@)")
_USERS = 500
_FIRST_ID = 1_700_000_000_000_000_000  # more digits than a double can represent, like real ids
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Expected:
    """The content of the layers after they have read the folder: `lines == silver + sum(rejected.values())`."""

    lines: int
    """Lines of all files, which is the number of rows of Bronze."""
    corrupt: int
    """Lines that are not one JSON object."""
    rejected: dict[str, int]
    """Number of rejected rows by reason; unused reasons are left out."""
    silver: int
    truth: dict[str, tuple[str, str, datetime]]
    """The winning copy of each id: text as written, label, and `created_at` in UTC with the precision that was written."""


def write_raw_tweets(
    folder: Path,
    texts: Sequence[tuple[str, str]],
    *,
    count: int = 20_000,
    files: int = 20,
    seed: int = 7,
    start: datetime | None = None,
) -> Expected:
    """Wrap texts into tweets, add faults, and write them as `tweets-<n>.jsonl`; each file appears only when it is complete.

    Files arrive (their modification time) one minute apart, the last at `start` + `SPAN`; no tweet is newer than its file. Of two
    copies of a tweet the one edited last wins, else the one in the later file.

    Args:
        folder: The output folder, created if missing; files of these names are replaced.
        texts: (text, label), repeated when used up; texts that Silver would reject are skipped.
        count: Total number of lines, including faults; at least `FEWEST`.
        files: At least 2, since a correction comes in another file.
        seed: The same seed and start give the same bytes.
        start: Time of the first tweet; default: `SPAN` ago.

    Raises:
        MalformedData: No text can be used, or there are too few lines or files.
    """
    usable = [(text, label) for text, label in texts if _is_usable(text)]
    if not usable or count < FEWEST or files < 2:
        raise MalformedData(
            "Raw tweets cannot be written.",
            found=f"{len(usable)} usable texts, {count} lines, {files} files",
            expected=f"at least one text, {FEWEST} lines and 2 files",
        )
    start = (start or datetime.now(UTC) - SPAN).astimezone(UTC).replace(microsecond=0)
    chance = random.Random(seed)
    duplicates, corrections = round(count * DUPLICATED), round(count * CORRECTED)
    kinds = _kinds(count, count - duplicates - corrections)
    chance.shuffle(kinds)
    dump = _Dump(usable, files, start, chance)
    dump.add(kinds)
    dump.correct(corrections)
    dump.duplicate(duplicates)
    dump.write(folder)
    rejected, truth = dict(+dump.rejected), dump.truth
    return Expected(sum(map(len, dump.lines)), dump.rejected["not json"], rejected, len(truth), truth)


@dataclass(frozen=True)
class _Tweet:
    id: str
    file: int
    record: dict[str, Any]
    line: bytes


class _Dump:
    """Files under construction, and their expected result."""

    def __init__(self, texts: list[tuple[str, str]], files: int, start: datetime, chance: random.Random) -> None:
        self._texts, self._start, self._chance = texts, start, chance
        self._arrived = [start + SPAN - BETWEEN_FILES * (files - 1 - number) for number in range(files)]
        self._tweets: list[_Tweet] = []  # accepted tweets that are neither a duplicate nor a correction
        self.lines: list[list[bytes]] = [[] for _ in range(files)]
        self.rejected: Counter[str] = Counter()
        self.truth: dict[str, tuple[str, str, datetime]] = {}

    def add(self, kinds: Sequence[str]) -> None:
        """Add one line per kind, in order of time."""
        chance, files = self._chance, len(self.lines)
        for number, kind in enumerate(kinds):
            file, elapsed = number * files // len(kinds), number / len(kinds)
            text, label = self._texts[number % len(self._texts)]
            text = _decorated(_unmasked(text, chance), label, elapsed, chance)
            at = self._start + SPAN * (elapsed + chance.random() / len(kinds)) - timedelta(seconds=chance.expovariate(1 / 20))
            at = min(at, self._arrived[file] - timedelta(seconds=1))
            if kind == "late":
                at -= timedelta(hours=chance.uniform(2, 12))
            written, at = _date(at, number, chance)
            record = _record(number, text, label, written, chance)
            if file >= files // 2 and chance.random() < 0.7:
                record["place"] = {"country_code": chance.choice(("DE", "FR", "GB")), "full_name": "Harbour"}
            if kind in REASONS:
                self.lines[file].append(_faulty_line(kind, record, text, chance))
                self.rejected[REASONS[kind]] += 1
            else:
                tweet = _Tweet(str(record.get("id_str") or record["id"]), file, record, _line(record, chance))
                self._tweets.append(tweet)
                self.lines[file].append(tweet.line)
                self.truth[tweet.id] = (text, label, at)

    def correct(self, count: int) -> None:
        """Correct `count` tweets: another text and label in another file; half of these copies have `edited_at`."""
        chance, files = self._chance, len(self.lines)
        others = {label: [pair for pair in self._texts if pair[1] != label] or self._texts for label in LABELS}
        corrected = chance.sample([tweet for tweet in self._tweets if tweet.file < files - 1], count)
        for number, tweet in enumerate(corrected):
            edited, overtakes = number % 2 == 0, number % 8 == 0  # one that overtakes arrives before the tweet that it corrects
            later = chance.randrange(tweet.file + 1, files)
            text, label = chance.choice(others[tweet.record["label"]])
            text = f"Edit: {_unmasked(text, chance)}"
            record = {key: value for key, value in tweet.record.items() if key != "text"} | {"full_text": text, "label": label}
            if edited:
                record["edited_at"] = _iso(self._arrived[tweet.file if overtakes else later])
            line = _line(record, chance)
            if overtakes:
                self.lines[tweet.file][self.lines[tweet.file].index(tweet.line)] = line
            self._slip_in(later, tweet.line if overtakes else line)
            self.rejected["superseded"] += 1
            self.truth[tweet.id] = (text, label, self.truth[tweet.id][2])
        ids = {tweet.id for tweet in corrected}  # never duplicated: a duplicate of the corrected copy could win
        self._tweets = [tweet for tweet in self._tweets if tweet.id not in ids]

    def duplicate(self, count: int) -> None:
        """Duplicate `count` lines, about half of them in the same file."""
        for tweet in self._chance.choices(self._tweets, k=count):
            later = self._chance.randrange(tweet.file, len(self.lines))
            self._slip_in(self._chance.choice((tweet.file, later)), tweet.line)
            self.rejected["duplicate"] += 1

    def write(self, folder: Path) -> None:
        """Write each file under a hidden name, set its time, and rename it, so that it appears complete."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, (lines, at) in enumerate(zip(self.lines, self._arrived, strict=True)):
            unseen = folder / f".tweets-{number:04}.jsonl"
            unseen.write_bytes(b"".join(line + b"\n" for line in lines))
            os.utime(unseen, (at.timestamp(), at.timestamp()))
            unseen.replace(folder / unseen.name[1:])

    def _slip_in(self, file: int, line: bytes) -> None:
        self.lines[file].insert(self._chance.randrange(len(self.lines[file]) + 1), line)


def _kinds(count: int, first: int) -> list[str]:
    """Return the kinds of the `first` lines: the shares of `count`, each single fault once, and sound tweets for the rest."""
    kinds = [*islice(cycle(_CORRUPT), round(count * CORRUPT)), *islice(cycle(_EMPTY), round(count * EMPTY)), *_SINGLE]
    kinds += ["late"] * (1 + round(count * LATE))
    return kinds + ["sound"] * (first - len(kinds))


def _is_usable(text: str) -> bool:
    sound = "\0" not in text and text == text.encode("utf-8", "ignore").decode()
    return sound and bool(clean(text)) and len(text) < MAX_TEXT_CHARS // 2 - 100  # leaves room for added names


def _unmasked(text: str, chance: random.Random) -> str:
    """Replace @user, the mask of labeled tweets, by names as in raw tweets; `clean` gives the same text for both."""
    return _MASK.sub(lambda _: f"@reader{chance.randrange(_USERS)}", text)


def _decorated(text: str, label: str, elapsed: float, chance: random.Random) -> str:
    """Return the text; with probability 0.3 add a name before or after it that mostly matches its label."""
    if chance.random() >= 0.3:
        return text
    leaning = label if chance.random() < 0.8 else chance.choice(LABELS)
    swings = (leaning == "negative") == (elapsed > 2 / 3)
    name = _SWINGS if swings and chance.random() < 0.3 else chance.choice(_NAMES[leaning])
    return f"{name} {text}" if chance.random() < 0.5 else f"{text} {name}"


def _date(at: datetime, turn: int, chance: random.Random) -> tuple[str | int, datetime]:
    """Return a time in the format number `turn` % 4, and the time with the precision that was written."""
    cut = at.replace(microsecond=0)
    if turn % 4 == 0:
        return f"{at:%a %b %d %H:%M:%S} +0000 {at:%Y}", cut
    if turn % 4 == 1:
        if chance.random() < 0.5:
            return _iso(cut), cut
        zone = timezone(timedelta(minutes=chance.choice((-300, 120, 330))))
        return at.astimezone(zone).isoformat(timespec="microseconds"), at
    unit = timedelta(seconds=1) if turn % 4 == 2 else timedelta(milliseconds=1)
    units = (at - _EPOCH) // unit
    return chance.choice((units, str(units))), _EPOCH + units * unit


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _record(number: int, text: str, label: str, created_at: str | int, chance: random.Random) -> dict[str, Any]:
    identity, user = _FIRST_ID + number * 4_194_304 + chance.randrange(4096), chance.randrange(_USERS)
    record = {
        "created_at": created_at,
        "id": identity,
        "id_str": str(identity),
        "full_text": text,
        "lang": chance.choices(("en", "de", "fr", "es", "und"), (88, 4, 3, 3, 2))[0],
        "user": {"id_str": str(4_000_000 + user), "screen_name": f"reader{user}", "followers_count": user * user},
        "source": chance.choice(("support", "launch", "events")),
        "label": label,
    }
    shape = chance.random()
    if shape < 0.5:
        record["text"] = record.pop("full_text")
    elif shape < 0.55 and len(text) > 40:  # both fields, one of them truncated, as in the old API
        record["text"] = text[:39] + "…"
    left_out = chance.random()  # dumps differ in which id they keep
    if left_out < 0.2:
        del record["id" if left_out < 0.1 else "id_str"]
    return record


def _line(record: dict[str, Any], chance: random.Random) -> bytes:
    return json.dumps(record, ensure_ascii=chance.random() < 0.5).encode()


def _faulty_line(fault: str, record: dict[str, Any], text: str, chance: random.Random) -> bytes:
    """Return the line of a record with one fault."""
    line = _line(record, chance)
    textless = {name: value for name, value in record.items() if name not in {"text", "full_text"}}
    broken = {
        "cut": line[: chance.randrange(1, len(line))],
        "plain text": b"503 upstream went away",
        "array": b"[" + line + b"]",
        "number": b"42",
        "string": b'"rate limited"',
        "null": b"null",
        "no UTF-8": line[:-1] + b', "city": "Orl\xe9ans"}',
    }
    changed = {
        "text null": textless | {"full_text": None},
        "text missing": textless,
        "spaces": textless | {"text": " \t\n "},
        "zero width": textless | {"full_text": "\u200b\u2060\ufeff"},
        "empty text": textless | {"full_text": ""},
        "id null": record | {"id": None, "id_str": None},
        "id missing": {name: value for name, value in record.items() if name not in {"id", "id_str"}},
        "empty object": {},
        "no date": record | {"created_at": "yesterday"},
        "no such date": record | {"created_at": "2026-02-30T12:00:00Z"},
        "1969": record | {"created_at": "Sun Jul 20 20:17:40 +0000 1969"},
        "2099": record | {"created_at": "2099-12-31T23:59:59Z"},
        "long": textless | {"full_text": f"{text} " * (1 + MAX_TEXT_CHARS // len(text))},
        "null byte": textless | {"text": f"{text}\0"},
    }
    return broken[fault] if fault in broken else _line(changed[fault], chance)
