"""Reads the recordings of $SENTINEL_DATA (conventions: its README.md) and keeps what is slow to read or to compute.

The cache is ~/.cache/sentinelops-tests/accuracy, one file a result, named by what it was made from: bytes of the inputs and
of the code. Nothing here knows the detector.
"""
import csv
import gzip
import hashlib
import json
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np

import metrics

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentinelops-tests" / "accuracy"


class Missing(Exception):
    """There is no such recording."""


def root():
    folder = os.environ.get("SENTINEL_DATA", "")
    if not folder or not Path(folder).is_dir():
        raise Missing("SENTINEL_DATA does not name the folder of recordings; there is nothing to measure on")
    return Path(folder)


def digest(*parts):
    """SHA-256 of files (Path) and of anything that JSON can write."""
    found = hashlib.sha256()
    for part in parts:
        text = part.read_bytes() if isinstance(part, Path) else json.dumps(part, sort_keys=True, default=str).encode()
        found.update(len(text).to_bytes(8, "little") + text)
    return found.hexdigest()


def cached(name, parts, make):
    """make(), or what it gave the last time with the same `parts`."""
    path = CACHE / f"{name}-{digest(*parts)[:24]}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes())
    made = make()
    CACHE.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=CACHE)
    with os.fdopen(handle, "wb") as file:
        file.write(pickle.dumps(made))
    os.replace(temporary, path)
    return made


def table(path):
    """(timestamps, names, values (rows, features), labels: 1, 0, or -1 where nobody labelled). Empty cells are NaN."""

    def read():
        with gzip.open(path, "rt") as file:
            rows = csv.reader(file)
            names = next(rows)[1:-1]
            cells = [[float(cell) if cell else np.nan for cell in row] for row in rows]
        cells = np.array(cells)
        labels = np.where(np.isnan(cells[:, -1]), -1, cells[:, -1]).astype(np.int8)
        return cells[:, 0].astype(np.int64), names, cells[:, 1:-1], labels

    return cached("table", [Path(path), Path(__file__)], read)


def explained(path):
    """[(start, end, [causing metrics])], seconds, both ends inclusive."""
    with gzip.open(path, "rt") as file:
        return [(int(row["start"]), int(row["end"]), row["features"].split(";")) for row in csv.DictReader(file)]


class Machine:
    """One SMD machine; the train part is read when asked for."""

    def __init__(self, name):
        folder = root() / "smd"
        self.name = name
        self.train_path, self.test_path = (folder / f"{name}.{part}.csv.gz" for part in ("train", "test"))
        self.times, self.names, self.test, self.labels = table(self.test_path)
        self.explain = explained(folder / f"{name}.explain.csv.gz")
        self.period = 60

    @property
    def train(self):
        return table(self.train_path)[2]

    def runs(self):
        """Labelled runs as (start, end, seconds long), times inclusive."""
        return [(int(self.times[a]), int(self.times[b]), (b - a + 1) * self.period)
                for a, b in metrics.segments(self.labels == 1)]

    def normal_seconds(self):
        return int((self.labels == 0).sum()) * self.period


def machines(only=None):
    names = sorted(path.name.removesuffix(".test.csv.gz") for path in (root() / "smd").glob("*.test.csv.gz"))
    if not names:
        raise Missing(f"no SMD machines in {root()}/smd")
    return [Machine(name) for name in names if only is None or name in only]


def nab_series(only=None):
    """name -> (path, timestamps, values, windows in seconds), the name as in combined_windows.json without `.csv`."""
    folder = root() / "nab"
    windows = json.loads((folder / "combined_windows.json").read_text())
    found = {}
    for path in sorted(folder.glob("*/*.csv.gz")):
        name = str(path.relative_to(folder)).removesuffix(".csv.gz")
        if only is None or name in only:
            times, _, values, _ = table(path)
            found[name] = (path, times, values[:, 0], [tuple(window) for window in windows[f"{name}.csv"]])
    return found
