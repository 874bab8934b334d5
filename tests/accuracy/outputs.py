"""Reads what `sentinelops replay` wrote: the scores (CSV, one row a frame) and the incidents (JSON lines, one a change).

It takes every field as it stands and derives nothing. Times are seconds.
"""
import csv
import json
from pathlib import Path

import numpy as np

# The end of an incident, whatever brought it about.
OVER = {"resolved", "accepted", "expired"}


def scores(path, times, column="anomaly_score"):
    """The score at each of `times`; NaN where there was no frame, or the detector was still learning.

    `path`: OUT.csv, or an .npz whose array `score` has one value for each time (prototypes).
    """
    path = Path(path)
    if path.suffix == ".npz":
        found = np.load(path)["score"].astype(float)
        if len(found) != len(times):
            raise ValueError(f"{path}: {len(found)} scores for {len(times)} rows")
        return found
    stamps, values = [], []
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        stamp, value = header.index("timestamp"), header.index(column)
        for row in rows:
            stamps.append(float(row[stamp]))
            values.append(float(row[value]) if row[value] else np.nan)
    stamps, values = np.array(stamps), np.array(values)
    if len(stamps) == 0:
        raise ValueError(f"{path}: no frames")
    order = np.argsort(stamps, kind="stable")
    stamps, values = stamps[order], values[order]
    at = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, None)
    exact = stamps[at] == times
    if exact.mean() < 0.99:
        raise ValueError(f"{path}: only {exact.sum()} of {len(times)} rows have a frame of their time")
    return np.where(exact, values[at], np.nan)


def columns(path):
    with Path(path).open(newline="") as file:
        return next(csv.reader(file))


class Incident:
    """All changes of one incident, in order."""

    def __init__(self, changes):
        self.changes = changes
        self.key = changes[0]["key"]
        self.started = changes[-1]["started_ms"] / 1000
        self.detected = self.first("detected", "confirmed", "notified")
        self.confirmed = self.first("confirmed", "notified")
        self.notified = self.first("notified")
        self.ended = changes[-1]["time_ms"] / 1000 if changes[-1]["state"] in OVER else float("inf")

    def first(self, *states):
        return next((change["time_ms"] / 1000 for change in self.changes if change["state"] in states), None)

    def ranking_at_notification(self):
        """(seconds, features): of the change that called a person; of the confirmation when nobody was called."""
        for state in ("notified", "confirmed"):
            for change in self.changes:
                if change["state"] == state:
                    return change["time_ms"] / 1000, ranking(change)
        return None

    def ranking_at_end(self):
        return self.changes[-1]["time_ms"] / 1000, ranking(self.changes[-1])


def ranking(change):
    """Features, the most suspect first: `suspects` when the change has them, its contributions otherwise."""
    entries = change.get("suspects") or change.get("contributions") or []
    names = [entry if isinstance(entry, str) else entry.get("feature") or entry.get("name") or "" for entry in entries]
    return [name.removesuffix("_value") for name in dict.fromkeys(names) if name]


def incidents(path):
    """Every incident of the file; a key that comes back after its end is a new one."""
    found, open_ = [], {}
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            change = json.loads(line)
            key, state = change["key"], change["state"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}:{number}: no incident: {error!r}") from None
        changes = open_.get(key)
        if changes is None:
            changes = open_[key] = []
            found.append(changes)
        changes.append(change)
        if state in OVER:
            del open_[key]
    return [Incident(changes) for changes in found]


def tops(path):
    """[(seconds, score, first feature)] of every frame with a score."""
    with Path(path).open(newline="") as file:
        return [(float(row["timestamp"]), float(row["anomaly_score"]), (row["top1"] or "").removesuffix("_value"))
                for row in csv.DictReader(file) if row["anomaly_score"]]
