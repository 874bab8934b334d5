"""A single injected cause must be on top of the explanation, and the shares must add up.

Ten independent seeded series of six kinds (level, count, heavy tail, drifting, nearly constant, seasonal), 5,000 minutes to learn
from; then every 200 minutes one of them, in turn, is moved for 20 minutes by 6, 9 or 15 of its own deviations, up or down.
"""
import json

import numpy as np

import data
import metrics
import outputs
import replay

TRAIN, EVENTS, EVERY, LENGTH = 5000, 60, 200, 20
NAMES = [f"signal_{letter}" for letter in "abcdefghij"]


def series(seed):
    """(rows, events): rows (time, signal); events (first row, signal, deviations)."""
    rng = np.random.default_rng(seed)
    n = TRAIN + (EVENTS + 1) * EVERY
    minutes = np.arange(n)
    drift = np.zeros(n)
    noise = rng.normal(size=n)
    for row in range(1, n):
        drift[row] = 0.95 * drift[row - 1] + noise[row]
    columns = [rng.normal(50, 4, n), rng.normal(200, 10, n), rng.poisson(40, n), rng.poisson(300, n), rng.lognormal(2, 0.4, n),
               rng.lognormal(0, 0.6, n), 20 + drift, 500 + 30 * drift, 5 + 0.01 * rng.normal(size=n),
               100 + 20 * np.sin(2 * np.pi * minutes / 1440) + rng.normal(0, 3, n)]
    rows = np.array(columns, float).T
    spread = rows[:TRAIN].std(axis=0)
    events = []
    for event in range(EVENTS):
        first, signal = TRAIN + (event + 1) * EVERY, int(rng.integers(len(NAMES)))
        size = float(rng.choice([6, 9, 15]))
        down = rng.random() < 0.4 and rows[:TRAIN, signal].min() - size * spread[signal] > 0
        rows[first:first + LENGTH, signal] += (-size if down else size) * spread[signal]
        events.append((first, signal, -size if down else size))
    return rows, events


def section(seeds=(1, 2, 3)):
    folder = data.CACHE / "causes"
    folder.mkdir(parents=True, exist_ok=True)
    jobs, events = [], {}
    for seed in seeds:
        rows, events[f"seed {seed}"] = series(seed)
        paths = [folder / f"{seed}.{part}.csv" for part in ("train", "test")]
        for path, part, first in zip(paths, (rows[:TRAIN], rows[TRAIN:]), (0, TRAIN)):
            stamps = 1_577_836_800 + 60 * (first + np.arange(len(part)))
            path.write_text("timestamp," + ",".join(NAMES) + ",label\n" + "".join(
                f"{stamp},{','.join(f'{cell:.6g}' for cell in row)},\n" for stamp, row in zip(stamps, part)))
        jobs.append(replay.series(f"seed {seed}", paths[1], paths[0]))
    folders = replay.run(jobs, "replay of single causes")

    table, errors, right, seen, opened = [], [0.0], 0, 0, 0
    for name, of_seed in events.items():
        tops = outputs.tops(folders[name] / "scores.csv")
        changes = [json.loads(line) for line in (folders[name] / "incidents.jsonl").read_text().splitlines()]
        errors += [abs(sum(entry["share"] for entry in change["contributions"]) - 1) for change in changes if change["contributions"]]
        incidents = [incident for incident in outputs.incidents(folders[name] / "incidents.jsonl") if incident.confirmed is not None]
        good = flagged = found = 0
        for first, signal, _ in of_seed:
            start = 1_577_836_800 + 60 * first
            frames = [top for stamp, score, top in tops if start <= stamp < start + 60 * LENGTH and score >= 1]
            flagged += len(frames)
            good += sum(top == NAMES[signal] for top in frames)
            within = [incident for incident in incidents if start <= incident.confirmed < start + 60 * LENGTH]
            found += any(metrics.in_top(incident.ranking_at_notification()[1], [NAMES[signal]], 1) for incident in within)
        table.append([name, f"{good} of {flagged}", f"{good / max(flagged, 1):.4f}", f"{found} of {len(of_seed)}"])
        right, seen, opened = right + good, seen + flagged, opened + found
    share = right / max(seen, 1)
    return {
        "title": "A single injected cause",
        "headline": [["single injected cause on top", "-", "at least .97", f"{share:.4f} of {seen} frames with score >= 1",
                      bool(seen and share >= 0.97)],
                     ["additivity error (shares of a change sum to 1)", "-", "1e-6", f"{max(errors):.1e} over {len(errors) - 1} changes",
                      bool(len(errors) > 1 and max(errors) <= 1e-6)]],
        "text": __doc__.split("\n\n")[1].replace("\n", " ") + " Counted are the frames of an injection whose score is at the boundary "
                f"or above ({seen} of {len(seeds) * EVENTS * LENGTH}), and incidents confirmed in it with the injected signal first.",
        "tables": [{"head": ["", "frames right", "share", "incidents with the cause first"], "rows": table}], "plots": [],
        "cut": {"single_cause": share},
    }
