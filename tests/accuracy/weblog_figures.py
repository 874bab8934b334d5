"""A small site's access log through the shipped web detector: an outage injected five times, and a log that begins in one.

meatlabel.app, 30 days, about 28 requests an hour; its first 192 hours lie in and around a real outage. From hour 192 on, five
times of 6 hours are drawn from a seed (3 days after the start at the earliest, a day apart, none in a labelled hour), and each
request in them gets status 502 with a probability of .9. Nothing else of the log is changed.
"""
import gzip
import re
from datetime import datetime

import numpy as np

import baselines
import data
import metrics
import outputs
import replay

HOUR = 3600
FROM = 192 * HOUR
LENGTH = 6 * HOUR
LINE = re.compile(rb'^(\S+ \S+ .*? \[)([^\]]+)(\] "(?:[^"\\]|\\.)*" )(\d{3})( .*)$', re.DOTALL)
SEED = 20260101


def log_path():
    return data.root() / "logs" / "web" / "meatlabel.app-nginx.access.log.gz"


def lines():
    """[(seconds, line)]; a line that is no record keeps the time of the one before."""
    found, last = [], 0
    with gzip.open(log_path(), "rb") as file:
        for line in file:
            record = LINE.match(line)
            if record:
                last = int(datetime.strptime(record[2].decode(), "%d/%b/%Y:%H:%M:%S %z").timestamp())
            found.append((last, line))
    return found


def labelled():
    """Hours (their first second) in which the upstream refused connections."""
    times, _, _, labels = data.table(log_path().with_name("meatlabel.app-nginx.hourly.csv.gz"))
    return times[labels == 1]


def drawn(first, last, outages, count=5):
    """Starts of the injected outages, in order."""
    rng, found = np.random.default_rng(SEED), []
    while len(found) < count:
        start = int(rng.integers(first + 72 * HOUR, last - LENGTH - 2 * HOUR))
        apart = all(abs(start - other) >= 24 * HOUR for other in found)
        if apart and not any(start - HOUR < hour < start + LENGTH + HOUR for hour in outages):
            found.append(start)
    return sorted(found)


def write(path, records, starts=()):
    """Writes the log with its outages; [requests failed, those of the first 2 h] of each."""
    rng = np.random.default_rng(SEED + 1)
    hit = [[0, 0] for _ in starts]
    with open(path, "wb") as file:
        for seconds, line in records:
            for i, start in enumerate(starts):
                if start <= seconds < start + LENGTH and rng.random() < 0.9:
                    record = LINE.match(line)
                    line = b"".join((record[1], record[2], record[3], b"502", record[5])) if record else line
                    hit[i][0] += 1
                    hit[i][1] += seconds < start + 2 * HOUR
            file.write(line)
    return hit


def windows(records, length=600):
    """(start of each window, [requests, 4xx, 5xx, share of 5xx]) of every window from first to last; a silent one is zeros."""
    first = records[0][0] - records[0][0] % length
    counts = np.zeros(((records[-1][0] - first) // length + 1, 3))
    for seconds, line in records:
        record = LINE.match(line)
        if record:
            status = record[4]
            counts[(seconds - first) // length] += (1, status[:1] == b"4", status[:1] == b"5")
    share = counts[:, 2] / np.maximum(counts[:, 0], 1)
    return first + length * np.arange(len(counts)), np.c_[counts, share]


def plain(records):
    """Baseline -> seconds of its pages: a fixed rule on 5xx, and the largest |z| of the windows of three days before."""
    starts, rows = windows(records)
    half = np.array([rows[max(0, i - 2):i + 1].sum(axis=0) for i in range(len(rows))])
    rule = (half[:, 2] >= 5) & (half[:, 2] >= 0.1 * half[:, 0])
    far = np.zeros(len(rows))
    for i in range(144, len(rows)):
        before = rows[max(0, i - 432):i]
        far[i] = (np.abs(rows[i] - before.mean(axis=0)) / np.maximum(before.std(axis=0), 0.05)).max()
    found = {"half an hour with at least 5 of 5xx and 10 % of them": rule, "largest |z| of 10 minutes > 5": far > 5}
    return {name: starts[baselines.first_after_quiet(over, 6)] + 600 for name, over in found.items()}


def judged(pages, starts, real):
    """(delay of the first page in each injected outage or None, pages that lie in no outage)."""
    delays = [next((float(page - start) for page in pages if start <= page <= start + LENGTH), None) for start in starts]
    trouble = [(start, start + LENGTH) for start in starts] + real
    return delays, [page for page in pages if not any(a <= page <= b for a, b in trouble)]


def section():
    folder = data.CACHE / "weblog"
    folder.mkdir(parents=True, exist_ok=True)
    every, outages = lines(), labelled()
    begin = every[0][0] - every[0][0] % HOUR
    later = [record for record in every if record[0] >= begin + FROM]
    first, last = later[0][0], later[-1][0]
    starts = drawn(first, last, outages)
    injected, whole = folder / "injected.log", folder / "whole.log"
    failed = write(injected, later, starts)
    write(whole, every)
    jobs = [replay.Job(path.stem, ["--detector", "web", "--file", path], [path]) for path in (injected, whole)]
    folders = replay.run(jobs, "replay of the web log", incidents_only=True)
    pages = {name: sorted(incident.notified for incident in outputs.incidents(folder / "incidents.jsonl")
                          if incident.notified is not None) for name, folder in folders.items()}

    real = [(hour, hour + HOUR) for hour in outages if hour >= first - HOUR]
    weeks = (last - first) / metrics.WEEK
    delays, other = judged(pages["injected"], starts, real)
    in_time = sum(delay is not None and delay <= 2 * HOUR for delay in delays)
    over = int(max(hour for hour in outages if hour < begin + FROM)) + HOUR
    recovery = [page for page in pages["whole"] if over <= page < over + 24 * HOUR]
    after = [page for page in pages["whole"] if page >= over + 24 * HOUR]
    rows = [[str(i), f"{(start - begin) / HOUR:.1f}", *map(str, requests), "-" if delay is None else f"{delay / 60:.0f} min"]
            for i, (start, requests, delay) in enumerate(zip(starts, failed, delays), 1)]
    peers = [["shipped detector", f"{in_time} of 5", f"{len(other) / weeks:.2f}"]]
    with open(injected, "rb") as file:
        for name, found in plain([(seconds, line) for (seconds, _), line in zip(later, file)]).items():
            when, false = judged(found, starts, real)
            peers.append([name, f"{sum(delay is not None and delay <= 2 * HOUR for delay in when)} of 5", f"{len(false) / weeks:.2f}"])
    return {
        "title": "A web log with outages (meatlabel.app)",
        "headline": [
            ["6 h of 5xx injected at 5 seeded times: paged within 2 h", "-", "5 of 5", f"{in_time} of 5", in_time == 5],
            ["other pages a week", "-", "at most 1", f"{len(other) / weeks:.2f} ({len(other)} in {weeks:.1f} weeks)",
             bool(len(other) / weeks <= 1)],
            ["from row 0: pages on recovery (24 h)", "-", "0", f"{len(recovery)} (and {len(after)} in the {(last - over) / metrics.WEEK:.1f} "
             "weeks behind it)", not recovery]],
        "text": __doc__.split("\n\n")[1].replace("\n", " ") + " A page is the change of an incident to `notified`. Pages within a "
                "labelled hour of real trouble are not `other`.",
        "tables": [{"head": ["outage", "hour of the log", "requests failed", "in its first 2 h", "page after"], "rows": rows},
                   {"head": ["", "paged within 2 h", "other pages a week"], "rows": peers}], "plots": [],
        "cut": {"weblog_paged": in_time / 5},
    }
