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

VARIANTS = data.Path(__file__).parent / "variants.toml"


def variants():
    """[(name, options)], the shipped settings first."""
    tables = tomllib.loads(VARIANTS.read_text()).get("variant", [])
    return [("shipped", {})] + [(table["name"], table["options"]) for table in tables]


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


def goals(name, options):
    """family -> how good: SMD: mean PR-AUC + share of long segments, less .1 for each false one a week beyond 1.5, halved;
    NAB: mean of the two profiles over 100."""
    config = with_options(options)
    machines, series = data.machines(), data.nab_series()
    try:
        of_smd = replay.run([replay.series(m.name, m.test_path, m.train_path) for m in machines], f"SMD, {name}", config)
        of_nab = replay.run([replay.series(key, entry[0]) for key, entry in series.items()], f"NAB, {name}", config, True)
    finally:
        config.unlink()
    families = {}
    for machine in machines:
        families.setdefault("SMD " + machine.name.rsplit("-", 1)[0], []).append(machine)
    found = {}
    for family, members in families.items():
        precision, total = [], {"hit": 0, "long": 0, "false": 0, "weeks": 0.0}
        for machine in members:
            scores = outputs.scores(of_smd[machine.name] / "scores.csv", machine.times)
            precision.append(metrics.average_precision(machine.labels == 1, scores))
            incidents = outputs.incidents(of_smd[machine.name] / "incidents.jsonl")
            times = [incident.confirmed for incident in incidents if incident.confirmed is not None]
            opened = metrics.openings(times, machine.runs(), machine.normal_seconds())
            total = {key: total[key] + opened[key] for key in total}
        noise = max(total["false"] / total["weeks"] - 1.5, 0.0)
        found[family] = (float(np.mean(precision)) + total["hit"] / max(total["long"], 1) - 0.1 * noise) / 2
    detections = nab_figures.detections({key: folder / "incidents.jsonl" for key, folder in of_nab.items()})["confirmed"]
    for family in sorted({key.split("/")[0] for key in series}):
        corpus = {key: (entry[1], entry[3]) for key, entry in series.items() if key.startswith(family + "/")}
        found["NAB " + family] = float(np.mean([nab.corpus_score(corpus, detections, p) for p in nab_figures.PROFILES])) / 100
    return found


def section():
    tried = {name: goals(name, options) for name, options in variants()}
    rows, left, shipped = [], [], []
    for family in tried["shipped"]:
        others = {name: np.mean([value for key, value in found.items() if key != family]) for name, found in tried.items()}
        best = max(others, key=others.get)
        left.append(tried[best][family])
        shipped.append(tried["shipped"][family])
        rows.append([family, best, f"{left[-1]:.3f}", f"{shipped[-1]:.3f}",
                     *(f"{found[family]:.3f}" for name, found in tried.items() if name != "shipped")])
    rows.append(["mean", "", f"{np.mean(left):.3f}", f"{np.mean(shipped):.3f}",
                 *(f"{np.mean(list(found.values())):.3f}" for name, found in tried.items() if name != "shipped")])
    names = [name for name in tried if name != "shipped"]
    return {
        "title": "Leave one family out",
        "headline": [["mean over families: settings chosen on the others / shipped", "-", "-",
                      f"{np.mean(left):.3f} / {np.mean(shipped):.3f}, {len(tried)} settings tried here", None]],
        "text": __doc__.split("\n\n")[1].replace("\n", " ") + " Measure: " + goals.__doc__.split(": ", 1)[1].replace("\n    ", " "),
        "tables": [{"head": ["family", "chosen on the others", "on the one left out", "shipped", *names], "rows": rows}],
        "plots": [], "cut": {},
    }
