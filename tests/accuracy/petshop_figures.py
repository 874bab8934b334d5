"""PetShop (Hardt et al. 2024, arXiv 2311.04806): the faulty node among the first of a ranking by the target's metric only.

For each of the 26 issues: the candidates are the columns of the target's own metric and statistic, one a node; usual is the whole
`noissue` file; the evidence is the rows of the issue. Nothing of the graph, of the node's kind or of other issues is used.
"""
import csv
import gzip
import subprocess
import tempfile

import numpy as np

import data
import metrics
import model_figures

EXAMPLE = "petshop_ranking"


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

    program = model_figures.example(EXAMPLE)
    reference, target = "|x - median| / max(IQR, .001 |median| + .001): .35 / .73", "at least .42 / .80"
    rows, headline, cut = [], [["PetShop, faulty node among top 1 / top 3", reference, target, "not measured", None]], {}
    if program is not None:
        mine = [ours(program, case) for case in every]
        one, three = shares(mine)
        _, (low, high) = metrics.paired_gain(*([float(metrics.in_top(ranking, [node], 3)) for ranking, node in zip(ranked, nodes)]
                                               for ranked in (mine, next(iter(rankings.values())))))
        rows.append(["shipped ranking", f"{one:.3f}", f"{three:.3f}"])
        headline[0][3:] = [f"{one:.3f} / {three:.3f} (top 3 over the plain one: 95 % interval {low:+.2f} to {high:+.2f})",
                           bool(one >= 0.42 - 1e-9 and three >= 0.80 - 1e-9)]
        cut = {"petshop_top1": one, "petshop_top3": three}
    rows += [[name, *(f"{share:.3f}" for share in shares(ranked))] for name, ranked in rankings.items()]
    by_chance = np.mean([shares(drawn) for drawn in chance], axis=0)
    rows.append(["random order, mean of 200", *(f"{share:.3f}" for share in by_chance)])
    return {"title": "Ranking of services (PetShop, 26 issues)", "headline": headline,
            "text": __doc__.split("\n\n")[1].replace("\n", " "),
            "tables": [{"head": ["", "top 1", "top 3"], "rows": rows}], "plots": [], "cut": cut}


def ours(program, case):
    """The example reads two CSV files (usual, issue; one column a node, empty = missing) and prints the columns in order."""
    _, _, names, usual, rows = case
    with tempfile.TemporaryDirectory() as folder:
        files = [data.Path(folder) / name for name in ("usual.csv", "issue.csv")]
        for path, cells in zip(files, (usual, rows)):
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(names)
                writer.writerows([["" if np.isnan(cell) else repr(float(cell)) for cell in row] for row in cells])
        done = subprocess.run([program, *files], capture_output=True, text=True, check=True)
    return [line.split("\t")[0] for line in done.stdout.splitlines()]
