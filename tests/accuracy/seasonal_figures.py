"""The shipped trend model on hold-outs of `seasonal/`, beside Python Prophet and the seasonal naive forecast.

Six rolling origins a series, the same rows for all three (the rule is in seasonal_peers.py). The programs are the example
`seasonal` of src/models and seasonal_peers.py; both print one object for each series and origin, which are compared here.
"""
import gzip
import json
import os
import re
import subprocess
import tempfile

import numpy as np

import data
import metrics
import model_figures

CASE = re.compile(r"(\w+) +inside (\S+) ahead (\S+) trend (\S+)")
HERE = data.Path(__file__).parent
PARITY = ["Prophet's own settings: RMSE/std to Prophet's Newton optimum", "prototype 2e-4", "at most 1e-3"]
ERROR = ["trend model: hold-out MAE over that of the better of Prophet and seasonal naive, median / worst series", "-",
         "at most 1.05 / 1.25"]
BAND = ["95 % band: coverage in the median; interval score over Prophet's", "Prophet .41-.92", ".93-.97, not worse"]


def inputs():
    return sorted((data.root() / "seasonal").glob("*.csv.gz"))


def ours():
    program = model_figures.example("seasonal")
    if program is None:
        raise data.Missing("the example `seasonal` is not built")

    def make():
        with tempfile.TemporaryDirectory() as folder:
            for path in inputs():
                (data.Path(folder) / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
            done = subprocess.run([program, folder], capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return data.cached("seasonal-ours", [program, *inputs()], make)


def peers():
    python, code = os.environ.get("PROPHET_PYTHON", ""), HERE / "seasonal_peers.py"
    if not python or not code.exists():
        raise data.Missing("there is no Prophet to compare with (tests/stack/setup prophet)")

    def make():
        with tempfile.TemporaryDirectory() as folder:
            out = data.Path(folder) / "out.json"
            subprocess.run([python, code, data.root() / "seasonal", out], capture_output=True, text=True, check=True)
            return json.loads(out.read_text())

    return data.cached("seasonal-peers", [code, *inputs()], make)


def by_series(entries):
    found = {}
    for entry in entries:
        found.setdefault(entry["series"], {})[entry["origin"]] = entry
    return found


def judged(mine, theirs):
    """series -> ratio of MAE to the better peer, coverage (ours, Prophet's), ratio of interval scores; means over origins."""
    found = {}
    for name, origins in mine.items():
        both = [(entry, theirs[name][origin]) for origin, entry in sorted(origins.items())]
        mae = np.mean([a["mae"] for a, _ in both])
        peer = {"Prophet": np.mean([b["prophet_mae"] for _, b in both]), "naive": np.mean([b["naive_mae"] for _, b in both])}
        weekly = [b.get("naive_week_mae") for _, b in both]
        best = min(peer, key=peer.get)
        strict = min(peer[best], np.mean(weekly)) if all(value is not None for value in weekly) else peer[best]
        found[name] = {"ratio": float(mae / peer[best]), "best": best, "strict": float(mae / strict), "origins": len(both),
                       "to_prophet": float(mae / peer["Prophet"]), "to_naive": float(mae / peer["naive"]),
                       "coverage": float(np.mean([a["coverage"] for a, _ in both])),
                       "prophet_coverage": float(np.mean([b["prophet_coverage"] for _, b in both])),
                       "winkler": float(np.mean([a["winkler"] for a, _ in both]) / np.mean([b["prophet_winkler"] for _, b in both]))}
    return found


def parity():
    """The headline and the cases, from what the test of src/models/prophet/tests/parity.rs printed (`run` has it do so)."""
    path = data.Path(os.environ.get("SENTINEL_PARITY", "/nonexistent"))
    rows = [list(match) for match in CASE.findall(path.read_text())] if path.is_file() else []
    if not rows:
        return [*PARITY, "not measured", None], rows
    worst = max(float(value) for row in rows for value in row[1:3])
    return [*PARITY, f"{worst:.1e} (worst of {len(rows)} made-up series, recorded)", bool(worst <= 1e-3)], rows


def section():
    found = judged(by_series(ours()), by_series(peers()))
    ratio, strict, coverage, winkler = (np.array([each[key] for each in found.values()])
                                        for key in ("ratio", "strict", "coverage", "winkler"))
    theirs = np.array([each["prophet_coverage"] for each in found.values()])
    low, high = metrics.bootstrap(ratio, np.median)
    rows = [[name, f"{each['ratio']:.3f} ({each['best']})", f"{each['strict']:.3f}", f"{each['to_prophet']:.3f}", f"{each['to_naive']:.3f}",
             f"{each['coverage']:.3f}", f"{each['prophet_coverage']:.3f}", f"{each['winkler']:.3f}", str(each["origins"])]
            for name, each in found.items()]
    line, cases = parity()
    tables = [{"head": ["series", "MAE over the better peer's", "or naive by the week", "over Prophet's", "over naive", "coverage", "Prophet's",
                        "interval score over Prophet's", "origins"], "rows": rows}]
    if cases:
        tables.append({"head": ["case, RMSE/std to the optimum", "inside", "ahead", "trend"], "rows": cases})
    worst = max(found, key=lambda name: found[name]["ratio"])
    return {
        "title": "Trend model (seasonal/)",
        "headline": [line,
                     [*ERROR, f"{np.median(ratio):.3f} ({low:.3f} to {high:.3f}) / {ratio.max():.3f} ({worst}); "
                      f"counting the naive forecast by the week too {np.median(strict):.3f} / {strict.max():.3f}",
                      bool(np.median(ratio) <= 1.05 and ratio.max() <= 1.25)],
                     [*BAND, f"{np.median(coverage):.3f} (Prophet {np.median(theirs):.3f}); {np.median(winkler):.3f} in the median",
                      bool(0.93 <= np.median(coverage) <= 0.97 and np.median(winkler) <= 1.0)]],
        "text": "Means over six rolling origins a series; one day, 30 days or a year ahead by the series' step. Python Prophet with "
                "its defaults and a 95 % band; the naive forecast repeats the last season.",
        "tables": tables, "plots": [], "cut": {},
    }
