"""The same measurement as src/models/examples/prophet_bench.rs with Python's Prophet; its Stan process is counted too."""
import logging
import math
import os
import statistics

import numpy as np
import pandas as pd
from prophet import Prophet

DAY, ROWS, AHEAD, SERIES = 86_400.0, 4032, 4320, 6
MASK = (1 << 64) - 1


def uniform(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield ((z ^ (z >> 31)) >> 11) / (1 << 53)


def series(seed):
    random = uniform(seed)
    first, second = 0.2 + 0.2 * next(random), 0.5 + 0.2 * next(random)
    t, y = [], []
    for i in range(ROWS):
        at, x = 1.7e9 + 300.0 * i, i / ROWS
        trend = 4.0 * x - 8.0 * max(x - first, 0.0) + 10.0 * max(x - second, 0.0)
        week = -1.0 if (at // DAY) % 7 < 2 else 0.0
        noise = next(random) + next(random) + next(random) + next(random) - 2.0
        t.append(at)
        y.append(10.0 + trend + 2.0 * math.sin(2 * math.pi * at / DAY) + week + noise)
    return t, y


def cpu_seconds(work):
    def spent():
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    start = spent()
    result = work()
    return spent() - start, result


def main():
    for name in ("cmdstanpy", "prophet"):
        logging.getLogger(name).disabled = True
    fits, predicts = [], []
    for seed in range(1, SERIES + 1):
        t, y = series(seed)
        frame = pd.DataFrame({"ds": pd.to_datetime(t, unit="s"), "y": y})
        ahead = pd.DataFrame({"ds": pd.to_datetime(t[-1] + 300.0 * np.arange(1, AHEAD + 1), unit="s")})
        model = Prophet(interval_width=0.95)
        fits.append(cpu_seconds(lambda: model.fit(frame))[0])
        predicts.append(cpu_seconds(lambda: model.predict(ahead))[0])
    print(f"fit {statistics.median(fits) * 1e3:.2f} ms")
    print(f"predict_one {statistics.median(predicts) / AHEAD * 1e6:.2f} us")


if __name__ == "__main__":
    main()
