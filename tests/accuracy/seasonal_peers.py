"""Python Prophet (its defaults, 95 % band) and the seasonal naive forecast on the origins of src/models/examples/seasonal.rs.

seasonal_peers.py DATA/seasonal OUT.json     runs Prophet on every column of every *.csv.gz; 96 fits
seasonal_peers.py DATA/seasonal --list       prints series, rows, horizon and origins only

The rule of origins, the same in both programs. Rows without a value are left out first. The step is the median distance
of rows. The horizon is one day below a step of 20 hours, 30 days below 20 days, else 366 days. Six origins lie evenly
between the middle of the series and its end less one horizon; rows before an origin are trained on, rows in the horizon
behind it are forecast. The naive forecast repeats the last season: day, week (7 d), or 12 rows by the same classes; for
steps below a day also the last week where two weeks lie before the origin (`naive_week`, reported apart).
"""
import glob
import gzip
import json
import logging
import os
import sys
import time

import numpy as np
import pandas as pd

ORIGINS = 6
DAY = 86_400


def series(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.csv.gz"))):
        with gzip.open(path, "rt") as file:
            table = pd.read_csv(file)
        for column in table.columns[1:-1]:
            kept = table[["timestamp", column]].dropna()
            yield f"{os.path.basename(path)[:-7]}:{column}", kept["timestamp"].to_numpy(np.int64), kept[column].to_numpy(float)


def plan(t):
    step = float(np.median(np.diff(t)))
    kind = "day" if step < 72_000 else "week" if step < 20 * DAY else "year"
    horizon = {"day": DAY, "week": 30 * DAY, "year": 366 * DAY}[kind]
    first, last = int(t[0]), int(t[-1])
    start, end = first + (last - first) // 2, last - horizon
    return step, kind, horizon, [start + (end - start) * k // (ORIGINS - 1) for k in range(ORIGINS)]


def naive(t, y, ahead, period, step):
    """Value one season before, the nearest row within half a step; earlier seasons, then the last value, if it is missing."""
    result = []
    for i, at in enumerate(ahead):
        if period is None:
            result.append(y[len(y) - 12 + i % 12])
            continue
        back = at - period * (int((at - t[-1] - 1) // period) + 1)
        found = y[-1]
        for _ in range(4):
            j = int(np.searchsorted(t, back))
            near = min((k for k in (j - 1, j) if 0 <= k < len(t)), key=lambda k: abs(int(t[k]) - back))
            if abs(int(t[near]) - back) <= step / 2:
                found = y[near]
                break
            back -= period
        result.append(found)
    return np.array(result)


def winkler(y, lower, upper, alpha=0.05):
    return float(np.mean(upper - lower + 2 / alpha * (np.maximum(lower - y, 0) + np.maximum(y - upper, 0))))


def prophet(t, y, ahead):
    from prophet import Prophet

    model = Prophet(interval_width=0.95)
    np.random.seed(1)
    model.fit(pd.DataFrame({"ds": pd.to_datetime(t, unit="s"), "y": y}))
    out = model.predict(pd.DataFrame({"ds": pd.to_datetime(ahead, unit="s")}))
    return out["yhat"].to_numpy(), out["yhat_lower"].to_numpy(), out["yhat_upper"].to_numpy()


def main(folder, target):
    logging.getLogger("prophet").disabled = True
    logging.getLogger("cmdstanpy").disabled = True
    rows = []
    for name, t, y in series(folder):
        step, kind, horizon, origins = plan(t)
        if target == "--list":
            print(name, len(t), step, horizon, origins)
            continue
        for origin in origins:
            train, test = t < origin, (t >= origin) & (t < origin + horizon)
            actual, ahead = y[test], t[test]
            started = time.process_time() + os.times().children_user
            yhat, lower, upper = prophet(t[train], y[train], ahead)
            spent = time.process_time() + os.times().children_user - started
            period = {"day": DAY, "week": 7 * DAY, "year": None}[kind]
            row = {
                "series": name,
                "origin": int(origin),
                "rows": int(train.sum()),
                "ahead": int(test.sum()),
                "prophet_mae": float(np.mean(np.abs(actual - yhat))),
                "prophet_coverage": float(np.mean((actual >= lower) & (actual <= upper))),
                "prophet_winkler": winkler(actual, lower, upper),
                "prophet_cpu": spent,
                "naive_mae": float(np.mean(np.abs(actual - naive(t[train], y[train], ahead, period, step)))),
            }
            if kind == "day" and origin - t[0] >= 14 * DAY:
                row["naive_week_mae"] = float(np.mean(np.abs(actual - naive(t[train], y[train], ahead, 7 * DAY, step))))
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    if target != "--list":
        with open(target, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
