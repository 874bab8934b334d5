"""NAB's scoring of what the shipped detector reports on the 32 development series, each replayed from its first row."""
import json
import os
import subprocess

import numpy as np

import baselines
import data
import metrics
import nab
import outputs
import replay

PROFILES = ("standard", "low_FP")
HERE = data.Path(__file__).parent


def scores(corpus, detections):
    return {profile: nab.corpus_score(corpus, detections, profile) for profile in PROFILES}


def ours(series):
    """moment -> name -> seconds, of incidents that were confirmed; `detected` of all that were detected."""
    jobs = [replay.series(name, path) for name, (path, *_) in series.items()]
    folders = replay.run(jobs, "replay of NAB", incidents_only=True)
    return detections({name: folder / "incidents.jsonl" for name, folder in folders.items()})


def detections(paths):
    found = {moment: {} for moment in ("confirmed", "started", "detected", "notified")}
    for name, path in paths.items():
        incidents = outputs.incidents(path)
        confirmed = [incident for incident in incidents if incident.confirmed is not None]
        found["confirmed"][name] = [incident.confirmed for incident in confirmed]
        found["started"][name] = [incident.started for incident in confirmed]
        found["detected"][name] = [incident.detected for incident in incidents if incident.detected is not None]
        found["notified"][name] = [incident.notified for incident in incidents if incident.notified is not None]
    return found


def plain(series):
    """baseline -> name -> seconds."""

    def one(item):
        name, (path, times, values, _) = item
        rows = data.cached("nab-baselines", [path, data.Path(baselines.__file__)], lambda: baselines.nab(values))
        return name, {baseline: times[found] for baseline, found in rows.items()}

    found = {}
    for name, of_series in replay.progress("NAB baselines", series.items(), one):
        for baseline, times in of_series.items():
            found.setdefault(baseline, {})[name] = times
    return found


def gaussian_with_hindsight(series, corpus):
    """NAB looks for the threshold that is best on its corpus, by profile; so do we here, for this line only."""
    far = {name: baselines.windowed_z(values) for name, (_, _, values, _) in series.items()}
    tried = [scores(corpus, {name: series[name][1][far[name] > limit] for name in series}) for limit in np.geomspace(3, 60, 25)]
    return {profile: max(each[profile] for each in tried) for profile in PROFILES}


def chance(series, corpus, counts, times=20):
    """As many openings as ours, at random rows after probation: mean and standard deviation."""
    tried = []
    for seed in range(times):
        rng = np.random.default_rng(seed)
        drawn = {name: rng.choice(stamps[nab.probation(len(stamps)):], counts.get(name, 0)) for name, (_, stamps, *_) in series.items()}
        tried.append(scores(corpus, drawn))
    return {profile: (float(np.mean([each[profile] for each in tried])), float(np.std([each[profile] for each in tried])))
            for profile in PROFILES}


def gain(corpus, ours, theirs, profile="standard"):
    """Difference in points, with its bootstrap interval over series."""
    raw, windows = [], []
    for name, (times, limits) in corpus.items():
        rows = nab.window_rows(times, limits)
        raw.append([nab.raw_score(len(times), nab.rows_at(times, found.get(name, ())), rows, profile) for found in (ours, theirs)])
        windows.append(len(rows))
    ours, theirs = np.array(raw).T
    a_tp, _, a_fn = nab.PROFILES[profile]
    return metrics.pooled_gain(100 * ours, 100 * theirs, (a_tp + a_fn) * np.array(windows))


def prophet(series):
    """name -> seconds at which Python Prophet's band is left, one an hour of quiet; None without Prophet."""
    python = os.environ.get("PROPHET_PYTHON", "")
    if not python:
        return None
    code = HERE / "nab_prophet.py"

    def one(item):
        name, (path, times, _, _) = item

        def make():
            done = subprocess.run([python, str(code), str(path)], capture_output=True, text=True, check=True)
            return json.loads(done.stdout.splitlines()[-1])

        over = np.array(data.cached("nab-prophet", [path, code], make), bool)
        return name, times[baselines.first_after_quiet(over, 12)]

    return dict(replay.progress("Prophet on NAB", series.items(), one))


def section(only=None):
    series = data.nab_series(only)
    if not series:
        raise data.Missing("no NAB series")
    corpus = {name: (times, windows) for name, (_, times, _, windows) in series.items()}
    found = ours(series)
    mine = scores(corpus, found["confirmed"])
    lines = [[f"shipped detector, {label}", scores(corpus, found[moment]), found[moment], ""] for label, moment in (
        ("at the time of confirmation", "confirmed"), ("at the start of each confirmed incident", "started"),
        ("every detection, confirmed or not", "detected"), ("notifications only", "notified"))]
    peers = plain(series)
    of_prophet = prophet(series)
    if of_prophet is not None:
        peers["Prophet's 99.8 % band, refitted 8 times, one an hour of quiet"] = of_prophet
    lines += [[name, scores(corpus, each), each, metrics.shown(*gain(corpus, found["confirmed"], each), "+.1f")]
              for name, each in peers.items()]
    rows = [[name, *(f"{each[profile]:.1f}" for profile in PROFILES), str(sum(map(len, times.values()))), difference]
            for name, each, times, difference in lines]
    best, random = gaussian_with_hindsight(series, corpus), chance(series, corpus, {k: len(v) for k, v in found["confirmed"].items()})
    rows.append(["windowed Gaussian, each row, threshold with hindsight", *(f"{best[profile]:.1f}" for profile in PROFILES), "", ""])
    rows.append(["as many at random, mean of 20 (deviation)",
                 *(f"{random[profile][0]:.1f} ({random[profile][1]:.1f})" for profile in PROFILES), rows[0][3], ""])
    by_series = [[name, str(len(one[1])), *(f"{nab.corpus_score({name: one}, found['confirmed'], profile):.0f}" if one[1] else "-"
                                            for profile in PROFILES), str(len(found["confirmed"].get(name, [])))]
                 for name, one in corpus.items()]
    raw = sorted((float(cells[2]), cells[0]) for cells in by_series if cells[2] != "-")
    return {
        "title": "NAB's scoring (32 development series)" if len(series) == 32 else f"NAB's scoring ({len(series)} series)",
        "headline": [["NAB's scoring, standard / low-FP",
                      "expanding q.998 51.8/45.0; on the whole corpus Gaussian 39.6/20.9, RCF 51.7/38.4", "at least 52 / 45, aim 55 / 47",
                      f"{mine['standard']:.1f} / {mine['low_FP']:.1f}", bool(mine["standard"] >= 52 and mine["low_FP"] >= 45)]],
        "text": "Lavin and Ahmad 2015, the rules of the NAB repository (probation 15 %, at most 750 rows; the earliest detection in a "
                "window counts; weights 1, .11, 1 and 1, .22, 1; 0 is silence, 100 perfect). A detection is the moment at which an "
                "incident is confirmed: a start known only afterwards would be hindsight, and is shown below it. No --train, nothing "
                f"chosen by label. Worst series: {raw[0][1]} ({raw[0][0]:.0f}).",
        "tables": [{"head": ["", "standard", "low-FP", "detections", "gain, standard"], "rows": rows},
                   {"head": ["series", "windows", "standard", "low-FP", "detections"], "rows": by_series}],
        "plots": [{"kind": "bars", "title": "NAB, standard profile", "bars": [[name, each["standard"]] for name, each, *_ in lines],
                   "target": 52}],
        "cut": {"nab_standard": mine["standard"] / 100, "nab_low_fp": mine["low_FP"] / 100},
    }
