"""Compares what src/models/examples/seasonal.rs and seasonal_peers.py wrote: seasonal_table.py OURS PEERS

One line a series, means over its origins. `ratio` is our error over the better of Prophet's and the seasonal naive one's,
`strict` counts the naive forecast of the week as well; `winkler` is our interval score over Prophet's.
"""
import json
import statistics
import sys


def main(ours_path, peers_path):
    with open(ours_path) as file:
        ours = {(row["series"], row["origin"]): row for row in map(json.loads, file)}
    with open(peers_path) as file:
        peers = {(row["series"], row["origin"]): row for row in json.load(file)}
    if ours.keys() != peers.keys():
        sys.exit(f"not the same origins: {sorted(ours.keys() ^ peers.keys())[:5]}")
    rows = []
    for name in sorted({name for name, _ in ours}):
        keys = [key for key in ours if key[0] == name]

        def mean(table, field):
            found = [table[key][field] for key in keys if field in table[key]]
            return statistics.mean(found) if found else float("nan")

        mae, prophet, naive = mean(ours, "mae"), mean(peers, "prophet_mae"), mean(peers, "naive_mae")
        week, coverage = mean(peers, "naive_week_mae"), mean(ours, "coverage")
        best = min(prophet, naive)
        rows.append((name, mae, prophet, naive, week, mae / best, mae / (min(best, week) if week == week else best), coverage,
                     mean(peers, "prophet_coverage"), mean(ours, "winkler") / mean(peers, "prophet_winkler")))
    print(f"{'series':44}{'ours':>11}{'prophet':>11}{'naive':>11}{'week':>11}{'ratio':>8}{'strict':>8}{'cover':>8}{'theirs':>8}{'winkler':>9}")
    for row in rows:
        print(f"{row[0]:44}" + "".join(f"{value:11.4g}" for value in row[1:5]) + "".join(f"{value:8.3f}" for value in row[5:9]) + f"{row[9]:9.3f}")
    ratios, strict, covers, winklers = ([row[i] for row in rows] for i in (5, 6, 7, 9))
    aims = [
        ("ratio, median", statistics.median(ratios), 0.0, 1.05),
        ("ratio, worst", max(ratios), 0.0, 1.25),
        ("coverage of the 95 % band, median", statistics.median(covers), 0.93, 0.97),
        ("winkler over Prophet's, median", statistics.median(winklers), 0.0, 1.0),
    ]
    print(f"strict: median {statistics.median(strict):.3f}, worst {max(strict):.3f}; winkler, worst {max(winklers):.3f}")
    missed = 0
    for name, value, least, most in aims:
        met = least <= value <= most
        missed += not met
        print(f"{name:36} {value:7.3f}   {least} to {most}   {'yes' if met else 'NO'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
