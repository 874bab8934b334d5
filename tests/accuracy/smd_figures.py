"""The figures on SMD: how well scores rank the rows, which rows and segments pass the boundary, incidents, causes."""
import numpy as np

import baselines
import causes
import data
import metrics
import outputs
import replay
import score

TRAILING = "three largest |z| / trailing quantile"
CODE = [data.Path(baselines.__file__)]


def baseline_scores(machines):
    """machine -> name -> (scores before the test part, scores of its rows)."""

    def one(machine):
        inputs = [machine.train_path, machine.test_path, *CODE]
        return data.cached("smd-baselines", inputs, lambda: baselines.smd(machine.name, machine.train, machine.test))

    return dict(zip([machine.name for machine in machines], replay.progress("SMD baselines", machines, one)))


def forests(machines, seeds=(1, 2, 3, 4, 5)):
    """Mean PR-AUC of scikit-learn's forest over seeds, a machine: one seed is luck."""

    def one(machine):
        return data.cached("smd-forests", [machine.train_path, machine.test_path, *CODE, list(seeds)],
                           lambda: float(np.mean([precision(machine, baselines.forest(machine.train, machine.test, seed))
                                                  for seed in seeds])))

    return replay.progress("scikit-learn, 5 seeds", machines, one)


def precision(machine, scores):
    return metrics.average_precision(machine.labels == 1, scores)


def ours(machines):
    jobs = [replay.series(machine.name, machine.test_path, machine.train_path) for machine in machines]
    folders = replay.run(jobs, "replay of SMD")
    found = {machine.name: (outputs.scores(folders[machine.name] / "scores.csv", machine.times),
                            outputs.incidents(folders[machine.name] / "incidents.jsonl")) for machine in machines}
    names = [name for name in outputs.columns(folders[machines[0].name] / "scores.csv")[2:] if not name.startswith("top")]
    models = {name: [precision(machine, outputs.scores(folders[machine.name] / "scores.csv", machine.times, name))
                     for machine in machines] for name in names}
    return found, models


def figures(only=None):
    """All sections about SMD, beside their baselines."""
    machines = data.machines(only)
    found, models = ours(machines)
    plain = baseline_scores(machines)
    return [ranking_section(machines, found, models, plain), rows_section(machines, found, plain),
            incident_section(machines, found, plain), cause_section(machines, found)]


def ranking_section(machines, found, models, plain):
    values = {"shipped detector": [precision(machine, found[machine.name][0]) for machine in machines]}
    for name in next(iter(plain.values())):
        values[name] = [precision(machine, plain[machine.name][name][1]) for machine in machines]
    values["scikit-learn IsolationForest"] = forests(machines)
    mine, rows = values["shipped detector"], []
    for name, each in values.items():
        worst = int(np.argmin(each))
        gain = "" if name == "shipped detector" else metrics.shown(*metrics.paired_gain(mine, each))
        rows.append([name, f"{np.mean(each):.3f}", f"{each[worst]:.3f} ({machines[worst].name})", gain])
    for name, each in models.items():
        worst = int(np.argmin(each))
        rows.append([f"its column {name}", f"{np.mean(each):.3f}", f"{each[worst]:.3f} ({machines[worst].name})", ""])
    gain, interval = metrics.paired_gain(mine, values["three largest |z|"])
    base = float(np.mean([(machine.labels == 1).mean() for machine in machines]))
    return {
        "title": "How well the score ranks rows (PR-AUC, SMD)",
        "headline": [
            ["shipped detector, mean PR-AUC", "three largest z .410; ensemble in Python .489", "at least .47",
             f"{np.mean(mine):.3f}", bool(np.mean(mine) >= 0.47)],
            ["its paired gain over the three largest z", "", "at least .05",
             metrics.shown(gain, interval), bool(gain >= 0.05)]],
        "text": f"Average precision of `anomaly_score` over the labelled rows; {base:.3f} of the rows are anomalous. A row without "
                "a score is the least anomalous. The gain of the shipped detector over each line is paired by machine, its 95 % "
                "interval a bootstrap over machines (10,000 draws). Prophet is not here: 456 series would take it hours.",
        "tables": [{"head": ["", "mean", "worst machine", "gain of the shipped detector"], "rows": rows}],
        "plots": [{"kind": "bars", "title": "mean PR-AUC", "bars": [[name, float(np.mean(each))] for name, each in values.items()],
                   "target": 0.47},
                  {"kind": "dots", "title": "PR-AUC by machine", "names": [machine.name for machine in machines],
                   "series": {key: values[key] for key in ("shipped detector", "three largest |z|", "scikit-learn IsolationForest")}}],
        "cut": {"pr_auc": float(np.mean(mine)), "pr_auc_gain": gain},
    }


def rows_section(machines, found, plain):
    entries = {"shipped detector": {machine.name: score.smd_rows(machine, found[machine.name][0]) for machine in machines}}
    for name in [name for name in next(iter(plain.values())) if name != TRAILING]:
        entries[f"{name}, trailing one-day q.99"] = {
            machine.name: score.smd_rows(machine, baselines.bounded(*plain[machine.name][name])) for machine in machines}
    rows = []
    for name, each in entries.items():
        pooled = score.pooled_rows(each)
        hits = [[entry[machine.name]["hit"] for machine in machines] for entry in (entries["shipped detector"], each)]
        gain = metrics.pooled_gain(*hits, [each[machine.name]["segments"] for machine in machines])
        rows.append([name, f"{pooled['segment_share']:.3f} ({pooled['segments'][0]} of {pooled['segments'][1]})",
                     f"{pooled['segment_worst'][1]:.3f} ({pooled['segment_worst'][0]})", f"{100 * pooled['normal_share']:.2f} %",
                     f"{100 * pooled['normal_worst'][1]:.2f} % ({pooled['normal_worst'][0]})",
                     "" if name == "shipped detector" else metrics.shown(*gain)])
    mine = score.pooled_rows(entries["shipped detector"])
    ok = [mine["segment_share"] >= 0.88, mine["normal_share"] <= 0.01, mine["normal_worst"][1] <= 0.015]
    return {
        "title": "Rows at the boundary (score >= 1, SMD)",
        "headline": [
            ["segments with a row >= 1", ".935", "at least .88", f"{mine['segment_share']:.3f}", bool(ok[0])],
            ["normal rows >= 1, mean and worst machine", ".9 %, 1.3 %", "at most 1 %, 1.5 %",
             f"{100 * mine['normal_share']:.2f} %, {100 * mine['normal_worst'][1]:.2f} %", bool(ok[1] and ok[2])]],
        "text": "Segments are pooled over machines. A baseline's boundary is the trailing one-day .99 quantile of its own score, "
                "by past rows only.",
        "tables": [{"head": ["", "segments hit", "worst machine", "normal rows", "worst machine", "gain in segments"], "rows": rows}],
        "plots": [{"kind": "trace", "title": f"{machine.name}: score (log), labelled segments shaded", "machine": machine.name,
                   "scores": found[machine.name][0], "labels": machine.labels} for machine in picked(machines, entries)],
        "cut": {"segment_share": mine["segment_share"], "normal_share": -mine["normal_share"]},
    }


def picked(machines, entries):
    """The machines with the best and the worst PR-AUC."""
    order = sorted(machines, key=lambda machine: entries["shipped detector"][machine.name]["pr_auc"])
    return [order[-1], order[0]] if len(order) > 1 else order


def incident_section(machines, found, plain):
    by_moment = {}
    for machine in machines:
        for moment, opened in score.smd_incidents(machine, found[machine.name][1]).items():
            by_moment.setdefault(moment, {})[machine.name] = opened
    rows = [opening_cells(f"shipped detector, by time {moment}", each, None) for moment, each in by_moment.items()]
    for name in [name for name in next(iter(plain.values())) if name != TRAILING]:
        bounded = {machine.name: baselines.bounded(*plain[machine.name][name]) for machine in machines}
        rows.append(opening_cells(f"{name}, q.99, 3 rows", plain_openings(machines, bounded, 1.0), by_moment["confirmed"]))
        rows.append(opening_cells(f"{name}, multiple of q.99 chosen with hindsight", hindsight(machines, bounded),
                                  by_moment["confirmed"]))
    mine = score.pooled_openings(by_moment["confirmed"])
    return {
        "title": "Incidents (SMD)",
        "headline": [
            ["confirmed incidents that open inside a segment longer than 5 minutes", ".62", "at least .65", f"{mine['share']:.3f}",
             bool(mine["share"] >= 0.65)],
            ["false ones a host and week", "1.5", "at most 1.5", f"{mine['false_a_week']:.2f}", bool(mine["false_a_week"] <= 1.5)]],
        "text": "Share of segments longer than 5 minutes in which an incident opens: the time of its change to `confirmed` lies in the "
                "segment, both ends included, no slack unless said. An incident that opens in no segment at all is false; weeks are "
                "those of normal rows. One that opens in a short segment, or second in the same one, is neither. Baselines confirm "
                "after 3 rows at the boundary and open again after 30 rows below; *with hindsight* = the multiple of the boundary "
                "with the largest share at no more than 1.5 false a week, which no user could choose.",
        "tables": [{"head": ["", "share", "segments", "false a host and week", "worst machine", "opened", "gain in share"],
                    "rows": rows}],
        "plots": [],
        "cut": {"incident_share": mine["share"], "false_a_week": -mine["false_a_week"]},
    }


def opening_cells(name, each, mine):
    total = score.pooled_openings(each)
    gain = ""
    if mine is not None:
        gain = metrics.shown(*metrics.pooled_gain(*([entry[m]["hit"] for m in each] for entry in (mine, each)),
                                                  [each[m]["long"] for m in each]))
    return [name, f"{total['share']:.3f}", f"{total['hit']} of {total['long']}", f"{total['false_a_week']:.2f}",
            f"{total['worst'][1]:.2f} ({total['worst'][0]})", str(total["opened"]), gain]


def plain_openings(machines, bounded, factor):
    return {machine.name: metrics.openings(machine.times[baselines.opened(bounded[machine.name] >= factor)], machine.runs(),
                                           machine.normal_seconds()) for machine in machines}


def hindsight(machines, bounded, false_a_week=1.5):
    tried = [plain_openings(machines, bounded, factor) for factor in np.geomspace(1, 30, 18)]
    pooled = [score.pooled_openings(each) for each in tried]
    allowed = [i for i, total in enumerate(pooled) if total["false_a_week"] <= false_a_week] or [len(tried) - 1]
    return tried[max(allowed, key=lambda i: pooled[i]["share"])]


def cause_section(machines, found):
    entries = [entry for machine in machines
               for entry in causes.answers(machine, found[machine.name][1], *score.train_scale(machine))]
    pooled = score.pooled_causes(entries)
    explained = sum(len(machine.explain) for machine in machines)
    rows = [[f"{ranking}, {moment}, {which}", str(n), f"{top1:.3f}", f"{top3:.3f}", cause_gain(entries, which, moment, ranking)]
            for (which, moment, ranking), (n, top1, top3) in pooled.items()]
    n, note1, note3 = pooled["all covered", "notification", "ours"]
    _, end1, end3 = pooled["all covered", "resolution", "ours"]
    return {
        "title": "True cause among the first three (SMD explain files)",
        "headline": [
            ["true cause among top 3 at notification (top 1)", "change ranking .82; largest z .851", "at least .87",
             f"{note3:.3f} ({note1:.3f})", bool(note3 >= 0.87)],
            ["true cause among top 3 at resolution (top 1)", "change ranking .957", "at least .96", f"{end3:.3f} ({end1:.3f})",
             bool(end3 >= 0.96)]],
        "text": f"Over {n} of {explained} explained segments: those which a confirmed incident covers (open at some time of the "
                "segment; the first confirmed inside it, otherwise the one open already). Right = any of the causing metrics among the "
                "first three of the incident's ranking, at the change that called a person (the confirmation when none was called) "
                "and at its last change. The plain rankings see the same rows at the same moments.",
        "tables": [{"head": ["", "segments", "top 1", "top 3", "gain in top 3"], "rows": rows}],
        "plots": [],
        "cut": {"cause_notified": note3, "cause_resolved": end3},
    }


def cause_gain(entries, which, moment, ranking):
    chosen = [entry for entry in entries if entry["opened"] or which == "all covered"]
    if ranking == "ours" or not chosen:
        return ""
    ours, theirs = ([entry[moment][name] <= 3 for entry in chosen] for name in ("ours", ranking))
    return metrics.shown(*metrics.pooled_gain(ours, theirs, np.ones(len(chosen))))
