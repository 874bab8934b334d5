"""Leave one family out: would the settings have been chosen without the data that they are measured on?

A family is a group of machines of SMD (machine-1, -2, -3) or a folder of NAB. For each one, that of the tried settings is taken
which is best in the mean over the other families; the figure is what it reaches on the family left out. The settings tried are
those of variants.toml beside this, and the shipped ones.
"""
import json
import re
import tempfile
import tomllib

import numpy as np

import data
import metrics
import nab
import nab_figures
import outputs
import replay

SMD = ("precision", "machines", "hit", "long", "false", "weeks")
FIGURES = ("PR-AUC, SMD", "share of long segments, SMD", "false a host and week, SMD", "NAB standard", "NAB low-FP")
VARIANTS = data.Path(__file__).parent / "variants.toml"


def variants():
    """[(name, options)], the shipped settings first."""
    tables = tomllib.loads(VARIANTS.read_text()).get("variant", [])
    return [("shipped", {})] + [(table["name"], table["options"]) for table in tables]


def constants():
    """Sets of constants that were tried; nobody can run them again."""
    return tomllib.loads(VARIANTS.read_text())["constants"]


def with_options(options):
    """The shipped configuration with these options in its first [[processors.anomaly]]."""
    text = replay.SHIPPED.read_text()
    if options:
        place = re.search(r"(?m)^\[\[processors\.anomaly\]\]\n", text)
        following = re.search(r"(?m)^\[", text[place.end():])
        table = text[place.end():place.end() + following.start()]
        for key in options:
            table = re.sub(rf"(?m)^{key} = .*\n", "", table)
        table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items()) + table
        text = text[:place.end()] + table + text[place.end() + following.start():]
    file = tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False)
    with file:
        file.write(text)
    return data.Path(file.name)


def results(name, options):
    """family -> what these settings reach there: sums that can be added over families."""
    config = with_options(options)
    machines, series = data.machines(), data.nab_series()
    try:
        of_smd = replay.run([replay.series(m.name, m.test_path, m.train_path) for m in machines], f"SMD, {name}", config)
        of_nab = replay.run([replay.series(key, entry[0]) for key, entry in series.items()], f"NAB, {name}", config, True)
    finally:
        config.unlink()
    found = {}
    for machine in machines:
        sums = found.setdefault("SMD " + machine.name.rsplit("-", 1)[0], dict.fromkeys(SMD, 0.0))
        scores = outputs.scores(of_smd[machine.name] / "scores.csv", machine.times)
        incidents = outputs.incidents(of_smd[machine.name] / "incidents.jsonl")
        times = [incident.confirmed for incident in incidents if incident.confirmed is not None]
        opened = metrics.openings(times, machine.runs(), machine.normal_seconds())
        opened |= {"precision": metrics.average_precision(machine.labels == 1, scores), "machines": 1}
        for key in SMD:
            sums[key] += opened[key]
    detections = nab_figures.detections({key: folder / "incidents.jsonl" for key, folder in of_nab.items()})["confirmed"]
    for key, (_, times, _, limits) in series.items():
        sums = found.setdefault("NAB " + key.split("/")[0], dict.fromkeys((*nab_figures.PROFILES, "windows"), 0.0))
        windows = nab.window_rows(times, limits)
        rows = nab.rows_at(times, detections.get(key, ()))
        for profile in nab_figures.PROFILES:
            sums[profile] += nab.raw_score(len(times), rows, windows, profile)
        sums["windows"] += len(windows)
    return found


def added(families):
    total = {}
    for sums in families:
        for key, value in sums.items():
            total[key] = total.get(key, 0.0) + value
    return total


def figures(total):
    """[PR-AUC, share of long segments, false a week, NAB standard, NAB low-FP]; NaN where the families have none of it."""
    found = [float("nan")] * 5
    if "machines" in total:
        found[:3] = total["precision"] / total["machines"], total["hit"] / max(total["long"], 1), total["false"] / total["weeks"]
    if "windows" in total:
        found[3:] = [nab.normalised(total[profile], total["windows"], profile) for profile in nab_figures.PROFILES]
    return found


def goal(sums):
    """How good on one family, about 0 to 1; below -1 counts as -1, so that one bad series does not choose for all."""
    precision, share, false, standard, low = figures(sums)
    found = (precision + share - 0.1 * max(false - 1.5, 0.0)) / 2 if "machines" in sums else (standard + low) / 200
    return max(found, -1.0)


def section():
    tried = {name: results(name, options) for name, options in variants()}
    rows, chosen = [], []
    for family in tried["shipped"]:
        others = {name: np.mean([goal(sums) for key, sums in found.items() if key != family]) for name, found in tried.items()}
        best = max(others, key=others.get)
        chosen.append(tried[best][family])
        rows.append([family, best, *(f"{goal(found[family]):.3f}" for found in tried.values())])
    form = ("{:.3f}", "{:.3f}", "{:.2f}", "{:.1f}", "{:.1f}")
    lines = [["chosen without the family", added(chosen)], *([name, added(found.values())] for name, found in tried.items())]
    table = [[name, *(each.format(value) for each, value in zip(form, figures(total)))] for name, total in lines]
    headline = [[f"leave one family out: {name}", "-", "-", f"{left} (shipped settings {shipped})", None]
                for name, left, shipped in zip(FIGURES, table[0][1:], table[1][1:])]
    return {
        "title": f"Leave one family out ({len(tried)} settings tried)", "headline": headline,
        "text": __doc__.split("\n\n")[1].replace("\n", " ") + " How good a setting is on a family: SMD: half of mean PR-AUC plus share "
                "of long segments less .1 for each false incident a week beyond 1.5; NAB: mean of the two profiles over 100.",
        "tables": [{"head": ["settings", *FIGURES], "rows": table},
                   {"head": ["family left out", "chosen on the others", *tried], "rows": rows}],
        "plots": [], "cut": {},
    }
