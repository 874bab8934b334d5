"""Scores what replay wrote, without running anything: the quick look while tuning.

    python tests/accuracy/score.py smd DIR     rows, incidents and causes (machine-1-2.scores.csv, machine-1-2.incidents.jsonl;
                                               or machine-1-2.npz with an array `score`: rows only)
    python tests/accuracy/score.py nab DIR     NAB's scoring (NAME.incidents.jsonl, in DIR or DIR/FOLDER as in nab/)
"""
import json
import sys
from pathlib import Path

import numpy as np

import causes
import data
import metrics
import nab
import nab_figures
import outputs


def smd_rows(machine, found):
    """Measures of one machine's scores."""
    hit, segments, over, normal = metrics.score_rows(machine.labels, found)
    return {"pr_auc": metrics.average_precision(machine.labels == 1, found),
            "roc_auc": metrics.roc_auc(machine.labels == 1, found),
            "hit": hit, "segments": segments, "over": over, "normal": normal}


def smd_incidents(machine, incidents):
    """Measures of one machine's incidents, by confirmation, start and notification, with and without slack."""
    runs, seconds = machine.runs(), machine.normal_seconds()
    confirmed = [incident for incident in incidents if incident.confirmed is not None]
    moments = {"confirmed": [incident.confirmed for incident in confirmed],
               "started": [incident.started for incident in confirmed],
               "notified": [incident.notified for incident in incidents if incident.notified is not None]}
    found = {name: metrics.openings(times, runs, seconds) for name, times in moments.items()}
    found["confirmed, 5 min slack"] = metrics.openings(moments["confirmed"], runs, seconds, slack=300)
    return found


def train_scale(machine):
    """Mean and floored standard deviation of the train part."""
    train = machine.train
    return np.nanmean(train, axis=0), np.maximum(np.nanstd(train, axis=0), 1e-3)


def pooled_rows(rows):
    """Over machines: mean PR-AUC and the worst; segments pooled; share of normal rows, mean and worst machine."""
    precision = {name: row["pr_auc"] for name, row in rows.items()}
    share = {name: row["over"] / row["normal"] for name, row in rows.items()}
    worst, loudest = min(precision, key=precision.get), max(share, key=share.get)
    hit, segments = (sum(row[key] for row in rows.values()) for key in ("hit", "segments"))
    by_machine = {name: row["hit"] / row["segments"] for name, row in rows.items()}
    blindest = min(by_machine, key=by_machine.get)
    return {"pr_auc": float(np.mean(list(precision.values()))), "pr_auc_worst": [worst, precision[worst]],
            "roc_auc": float(np.mean([row["roc_auc"] for row in rows.values()])),
            "segments": [hit, segments], "segment_share": hit / segments,
            "segment_worst": [blindest, by_machine[blindest]],
            "normal_share": float(np.mean(list(share.values()))), "normal_worst": [loudest, share[loudest]]}


def pooled_openings(by_machine):
    """Over machines: share of long segments in which one opened, and false ones a host and week."""
    total = {key: sum(found[key] for found in by_machine.values()) for key in ("hit", "long", "false", "opened", "weeks")}
    total["share"] = total["hit"] / total["long"] if total["long"] else float("nan")
    total["false_a_week"] = total["false"] / total["weeks"]
    rate = {name: found["false"] / found["weeks"] for name, found in by_machine.items()}
    loudest = max(rate, key=rate.get)
    total["worst"] = [loudest, rate[loudest]]
    return total


def pooled_causes(entries):
    """(segments set, moment, ranking) -> (segments, share at place 1, share within 3)."""
    found = {}
    for which, chosen in (("opened inside", [e for e in entries if e["opened"]]), ("all covered", entries)):
        for moment in ("notification", "resolution"):
            for ranking in ("ours", "change ranking", "largest z"):
                places = np.array([entry[moment][ranking] for entry in chosen])
                found[which, moment, ranking] = (len(places), float(np.mean(places <= 1)), float(np.mean(places <= 3))) \
                    if len(places) else (0, float("nan"), float("nan"))
    return found


def smd(folder, only=None):
    """All SMD measures of a folder: {rows, openings, causes, by machine}."""
    rows, openings, entries = {}, {}, []
    for machine in data.machines(only):
        base = Path(folder) / machine.name
        for suffix in (".scores.csv", ".npz"):
            if base.with_name(machine.name + suffix).exists():
                rows[machine.name] = smd_rows(machine, outputs.scores(base.with_name(machine.name + suffix), machine.times))
                break
        path = base.with_name(machine.name + ".incidents.jsonl")
        if path.exists():
            incidents = outputs.incidents(path)
            openings[machine.name] = smd_incidents(machine, incidents)
            entries += [entry | {"machine": machine.name} for entry in causes.answers(machine, incidents, *train_scale(machine))]
    if not rows and not openings:
        raise data.Missing(f"{folder}: no scores and no incidents of any SMD machine")
    return {"rows": rows, "openings": openings, "causes": entries}


def nab_files(folder, series):
    """(name -> incidents file, names without one); the files lie flat or in folders as in nab/."""
    found = {}
    for name in series:
        places = (Path(folder) / f"{name}.incidents.jsonl", Path(folder) / f"{name.split('/')[-1]}.incidents.jsonl")
        found[name] = next((path for path in places if path.exists()), None)
    return {name: path for name, path in found.items() if path}, [name for name, path in found.items() if not path]


def print_smd(found):
    rows, openings = found["rows"], found["openings"]
    print(f"{'machine':13s} {'PR-AUC':>7s} {'ROC':>6s} {'segments':>9s} {'normal>=1':>9s}   {'long hit':>8s} {'false':>5s} {'/week':>6s}")
    for name in rows or openings:
        line = f"{name:13s} "
        if name in rows:
            row = rows[name]
            line += (f"{row['pr_auc']:7.3f} {row['roc_auc']:6.3f} {row['hit']:4d}/{row['segments']:<4d} "
                     f"{100 * row['over'] / row['normal']:8.2f}%   ")
        if name in openings:
            opened = openings[name]["confirmed"]
            line += f"{opened['hit']:4d}/{opened['long']:<3d} {opened['false']:5d} {opened['false'] / opened['weeks']:6.2f}"
        print(line)
    if rows:
        print(json.dumps(pooled_rows(rows), indent=1, default=float))
    for moment in next(iter(openings.values()), {}):
        total = pooled_openings({name: entry[moment] for name, entry in openings.items()})
        print(f"{moment:24s} {total['hit']}/{total['long']} = {total['share']:.3f} of segments > 5 min; false {total['false']} of "
              f"{total['opened']}, {total['false_a_week']:.2f} a host and week, worst {total['worst'][0]} {total['worst'][1]:.2f}")
    if openings:
        for key, (n, top1, top3) in pooled_causes(found["causes"]).items():
            print(f"{' / '.join(key):48s} n {n:3d}  top 1 {top1:.3f}  top 3 {top3:.3f}")


def print_nab(folder):
    series = data.nab_series()
    files, missing = nab_files(folder, series)
    detections = nab_figures.detections(files)
    if missing:
        print(f"MISSING (scored as silent): {', '.join(missing)}")
    corpus = {name: (times, windows) for name, (_, times, _, windows) in series.items()}
    for moment, found in detections.items():
        line = "  ".join(f"{profile} {nab.corpus_score(corpus, found, profile):6.2f}" for profile in nab.PROFILES)
        print(f"{moment:10s} {line}  detections {sum(map(len, found.values()))}")
    print(f"{'series':48s} {'windows':>7s} {'std':>7s} {'low_FP':>7s}  confirmed")
    for name, one in corpus.items():
        both = [nab.corpus_score({name: one}, detections["confirmed"], profile) if one[1] else float("nan")
                for profile in ("standard", "low_FP")]
        print(f"{name:48s} {len(one[1]):7d} {both[0]:7.1f} {both[1]:7.1f}  {len(detections['confirmed'].get(name, []))}")


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("smd", "nab"):
        sys.exit(__doc__)
    try:
        if sys.argv[1] == "smd":
            print_smd(smd(sys.argv[2]))
        else:
            print_nab(sys.argv[2])
    except (data.Missing, ValueError) as error:
        sys.exit(f"score: {error}")


if __name__ == "__main__":
    main()
