"""Writes src/models/prophet/testdata/parity.json: what Python Prophet says of made-up series, at Stan's Newton optimum.

seasonal_fixtures.py OUT.json

Prophet's usual L-BFGS stops early on the Laplace prior (reference: its forecasts differ from the optimum by up to 12 % of
the series' standard deviation), so it cannot say whether another solver is right; Newton can. The series follow from a
seed and a formula that src/models/prophet/tests/parity.rs repeats; only forecasts are stored, 60 inside and 60 ahead.
"""
import json
import logging
import math
import sys

import numpy as np
import pandas as pd
from prophet import Prophet

DAY = 86_400.0
MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def noise(rng):
    return rng.uniform() + rng.uniform() + rng.uniform() + rng.uniform() - 2.0


# name: seed, first second, step, rows, missing share, unit, offset, multiplicative, flat, holidays
CASES = {
    "two_weeks": (1, 1.7e9, 900.0, 1344, 0.0, 1.0, 10.0, False, False, False),
    "five_days": (2, 1.7e9, 600.0, 720, 0.1, 1.0, 3.0, False, False, False),
    "huge": (3, 1.7e9, 1800.0, 1008, 0.0, 1e8, -4.0, False, False, False),
    "years": (4, 1.5e9, DAY, 1096, 0.05, 1.0, 8.0, False, False, False),
    "months": (5, 1.2e9, 30.4375 * DAY, 130, 0.0, 1.0, 8.0, True, False, False),
    "factor": (6, 1.7e9, 1800.0, 960, 0.0, 1.0, 12.0, True, False, False),
    "flat": (7, 1.7e9, 1800.0, 1008, 0.0, 1.0, 5.0, False, True, True),
    "calendar": (8, 1.7e9, 3600.0, 840, 0.0, 1.0, 6.0, False, False, True),
}


def series(case):
    seed, first, step, rows, missing, unit, offset, factor, flat, holidays = CASES[case]
    rng = SplitMix64(seed)
    t, y = [], []
    for i in range(rows):
        at, x = first + step * i, i / rows
        gone, spoilt = rng.uniform() < missing, noise(rng)
        trend = 0.0 if flat else 2.0 * x + (-5.0 * (x - 0.35) if x > 0.35 else 0.0) + (6.0 * (x - 0.6) if x > 0.6 else 0.0)
        year = math.sin(2 * math.pi * at / (365.25 * DAY))
        week = 0.8 if (at // DAY) % 7 < 2 else 0.0
        day = math.sin(2 * math.pi * at / DAY) + 0.4 * math.cos(6 * math.pi * at / DAY)
        wave = (year if step >= DAY else 0.0) + (day if step < DAY else 0.0) + week
        off = 1.5 if holidays and (at // DAY) % 11 == 3 else 0.0
        value = offset + trend
        value = value * (1.0 + 0.1 * wave) if factor else value + wave + off
        if not gone:
            t.append(at)
            y.append(unit * (value + 0.3 * spoilt))
    return np.array(t), np.array(y)


def stamps(t):
    return pd.to_datetime(np.round(t * 1e9).astype(np.int64))


def optimum(t, y, prophet):
    """Newton's method stops at a kink of the Laplace prior now and then: shake the changes of slope and go on, best kept."""
    best, posterior, start = None, -math.inf, {}
    rng = np.random.default_rng(1)
    for attempt in range(8):
        model = prophet()
        model.fit(pd.DataFrame({"ds": stamps(t), "y": y}), algorithm="Newton", iter=20_000, **start)
        reached = float(model.stan_fit.optimized_params_dict["lp__"])
        print("  log posterior", reached, file=sys.stderr, flush=True)
        if reached > posterior:
            best, posterior = model, reached
        start = {"inits": {name: float(best.params[name].item()) for name in ("k", "m", "sigma_obs")}}
        start["inits"]["beta"] = best.params["beta"][0]
        start["inits"]["delta"] = best.params["delta"][0] + rng.normal(0.0, 0.1 / 2**attempt, best.params["delta"].shape[1])
    return best


def record(case):
    _, first, step, rows, _, _, _, factor, flat, holidays = CASES[case]
    t, y = series(case)
    calendar = None
    if holidays:
        days = [d for d in range(int(first // DAY), int((first + 1.2 * rows * step) // DAY) + 1) if d % 11 == 3]
        calendar = pd.DataFrame({"holiday": "eleventh", "ds": pd.to_datetime(np.array(days) * 86_400, unit="s")})
    model = optimum(t, y, lambda: Prophet(growth="flat" if flat else "linear", seasonality_mode="multiplicative" if factor else "additive",
                                          holidays=calendar, interval_width=0.95))
    at = np.concatenate([t[np.linspace(0, len(t) - 1, 60).astype(int)], t[-1] + step * np.linspace(1, rows * 0.15, 60).round()])
    out = model.predict(pd.DataFrame({"ds": stamps(at)}))
    return {"case": case, "rows": len(t), "first": y[0], "last": y[-1], "std": float(np.std(y)), "sigma": float(model.params["sigma_obs"].item() * model.y_scale),
            "t": at.tolist(), "yhat": out["yhat"].tolist(), "trend": out["trend"].tolist(),
            "lower": out["yhat_lower"].tolist(), "upper": out["yhat_upper"].tolist()}


def shorter(key, value):
    """Nine digits, but for what the test must meet exactly."""
    if isinstance(value, list):
        return [shorter(key, item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) and key not in ("t", "first", "last") else value


def main(target):
    logging.getLogger("cmdstanpy").disabled = True
    np.random.seed(1)
    found = []
    for case in CASES:
        found.append(record(case))
        print(case, found[-1]["rows"], found[-1]["std"], file=sys.stderr, flush=True)
    lines = [json.dumps({key: shorter(key, value) for key, value in record.items()}, separators=(",", ":")) for record in found]
    with open(target, "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
