"""PetShop (Hardt et al. 2024, arXiv 2311.04806): the faulty node among the first of a ranking by the target's metric only.

For each of the 26 issues: the candidates are the columns of the target's own metric and statistic, one a node; usual is the whole
`noissue` file; the evidence is the rows of the issue. The shipped ranking runs in the example `petshop` of src/models, over all
statistics of the target's metric, a node by its largest. Nothing of the graph, of the node's kind or of other issues is used.
"""
import csv
import gzip
import re
import subprocess

import numpy as np

import data
import metrics
import model_figures

EXAMPLE = "petshop"
RESULT = re.compile(r"(\w+) top1 ([\d.]+) top3 ([\d.]+)")
NAMES = {"change": "shipped ranking", "distinct": "shipped ranking, repeated suspects put back", "baseline": "the example's plain one"}


def cases():
    """[(issue, node, names, usual rows, rows of the issue)]."""
    folder = data.root() / "petshop"
    _, names, usual, _ = data.table(folder / "low_traffic.noissue.csv.gz")
    times, same, rows, _ = data.table(folder / "low_traffic.issues.csv.gz")
    assert names == same, "the two files have different columns"
    found = []
    with gzip.open(folder / "low_traffic.issues.explain.csv.gz", "rt") as file:
        for issue in csv.DictReader(file):
            suffix = issue["target"].split("|", 1)[1]
            columns = [i for i, name in enumerate(names) if name.split("|", 1)[1] == suffix]
            inside = (times >= int(issue["start"])) & (times <= int(issue["end"]))
            found.append((f"{issue['split']} {issue['issue']}", issue["features"].split("|")[0],
                          [names[i].split("|")[0] for i in columns], usual[:, columns], rows[inside][:, columns]))
    return found


def by_distance(names, usual, rows, spread):
    """Nodes by the mean over the issue's rows of |x - median| / spread; those without a value come last."""
    with np.errstate(all="ignore"):
        middle = np.nanmedian(usual, axis=0)
        far = np.nanmean(np.abs(rows - middle) / spread(usual, middle), axis=0)
    return [names[i] for i in np.argsort(-np.nan_to_num(far, nan=-1.0), kind="stable")]


def interquartile(usual, middle):
    low, high = np.nanquantile(usual, [0.25, 0.75], axis=0)
    return np.maximum(high - low, 0.001 * np.abs(middle) + 0.001)


def deviation(usual, middle):
    return np.maximum(np.nanstd(usual, axis=0), 0.001 * np.abs(middle) + 0.001)


def section():
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        every = cases()
        rankings = {"|x - median| / max(IQR, .001 |median| + .001)": [by_distance(*case[2:], interquartile) for case in every],
                    "|x - median| / deviation": [by_distance(*case[2:], deviation) for case in every]}
    rng = np.random.default_rng(1)
    chance = [[list(rng.permutation(case[2])) for case in every] for _ in range(200)]
    nodes = [case[1] for case in every]

    def shares(ranked):
        return [float(np.mean([metrics.in_top(ranking, [node], k) for ranking, node in zip(ranked, nodes)])) for k in (1, 3)]

    reference, target = "|x - median| / max(IQR, .001 |median| + .001): .35 / .73", "at least .42 / .80"
    rows, headline, cut = [], [["PetShop, faulty node among top 1 / top 3", reference, target, "not measured", None]], {}
    printed = example()
    mine = printed.get("petshop, all rows", {})
    if mine:
        one, three = mine["change"]
        headline[0][3:] = [f"{one:.3f} / {three:.3f}", bool(one >= 0.42 - 1e-9 and three >= 0.80 - 1e-9)]
        cut = {"petshop_top1": one, "petshop_top3": three}
        rows += [[f"{NAMES[name]} (all statistics of the metric)", f"{a:.3f}", f"{b:.3f}"] for name, (a, b) in mine.items()]
    rows += [[name, *(f"{share:.3f}" for share in shares(ranked))] for name, ranked in rankings.items()]
    by_chance = np.mean([shares(drawn) for drawn in chance], axis=0)
    rows.append(["random order, mean of 200", *(f"{share:.3f}" for share in by_chance)])
    tables = [{"head": ["PetShop", "top 1", "top 3"], "rows": rows}]
    on_smd = [[f"{case}: {NAMES[name]}", f"{a:.3f}", f"{b:.3f}"] for case, entry in printed.items() if case.startswith("smd")
              for name, (a, b) in entry.items()]
    if on_smd:
        tables.append({"head": ["the ranking alone on all 151 SMD segments, without the detector", "top 1", "top 3"], "rows": on_smd})
    return {"title": "Ranking of services (PetShop, 26 issues)", "headline": headline,
            "text": __doc__.split("\n\n")[1].replace("\n", " "), "tables": tables, "plots": [], "cut": cut}


def example():
    """case -> ranking -> (top 1, top 3), as the example prints them; empty when it is not built."""
    program = model_figures.example(EXAMPLE)
    if program is None:
        return {}
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return {line.split(" n ")[0].strip(): {name: (float(a), float(b)) for name, a, b in RESULT.findall(line)}
            for line in done.stdout.splitlines()}
