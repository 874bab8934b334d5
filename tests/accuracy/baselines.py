"""What the detector is measured beside: scores and openings that take a few lines, and scikit-learn's models.

All are causal: scaled by the train part (SMD) or by the rows before (NAB), with boundaries from past rows only. SMD: fit on
train, one score for each test row. NAB: one score for each row. Nothing here has seen a label, and what was chosen with
hindsight says so in its name.
"""
import math
import warnings
from bisect import bisect_left, insort
from collections import deque

import numpy as np

DAY = 1440  # rows of a minute


def train_scaled(train, rows):
    """|z| by the train part; a constant column keeps its own unit, as in scikit-learn's StandardScaler."""
    mean, deviation = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    return np.abs(rows - mean) / np.where(deviation == 0, 1.0, deviation)


def largest(z, count):
    return np.sort(np.nan_to_num(z), axis=1)[:, -count:].sum(axis=1)


def trailing_quantile(values, window, q, before=()):
    """The q-quantile (a value that occurred) of the `window` values before each one; infinity where there is none."""
    past = deque(list(before)[-window:], maxlen=window)
    kept, found = sorted(past), np.empty(len(values))
    for row, value in enumerate(np.asarray(values, float).tolist()):
        found[row] = kept[min(int(q * len(kept)), len(kept) - 1)] if kept else math.inf
        if len(past) == window:
            del kept[bisect_left(kept, past[0])]
        past.append(value)
        insort(kept, value)
    return found


def expanding_quantile(values, q, least=100):
    """The q-quantile of all values before each one; infinity until there are `least`."""
    kept, found = [], np.full(len(values), math.inf)
    for row, value in enumerate(np.asarray(values, float).tolist()):
        if len(kept) >= least:
            found[row] = kept[min(int(q * len(kept)), len(kept) - 1)]
        if not math.isnan(value):
            insort(kept, value)
    return found


def forest(train, rows, seed):
    from sklearn.ensemble import IsolationForest
    return -IsolationForest(n_estimators=100, max_samples=256, random_state=seed).fit(train).score_samples(rows)


def smd(name, train, test, seed=1):
    """name -> (score of each train row's last day, score of each test row)."""
    warnings.filterwarnings("ignore")
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    tail = train[-DAY:]
    near, z = train_scaled(train, tail), train_scaled(train, test)
    rng = np.random.default_rng(sum(map(ord, name)) + seed)
    found = {"random": (rng.random(len(tail)), rng.random(len(test))),
             "largest |z|": (largest(near, 1), largest(z, 1)),
             "three largest |z|": (largest(near, 3), largest(z, 3))}
    before, after = found["three largest |z|"]
    moving = trailing_quantile(np.r_[before, after], DAY, 0.99)
    ratio = np.r_[before, after] / np.maximum(moving, 1e-9)
    found["three largest |z| / trailing quantile"] = (np.minimum(ratio[:len(tail)], 1.0), ratio[len(tail):])
    found["scikit-learn IsolationForest"] = (forest(train, tail, seed), forest(train, test, seed))
    scaler = StandardScaler().fit(train)
    drawn = rng.choice(len(train), min(5000, len(train)), replace=False)
    svm = OneClassSVM(kernel="rbf", nu=0.01, gamma="scale").fit(scaler.transform(train[drawn]))
    found["scikit-learn OneClassSVM"] = tuple(-svm.decision_function(scaler.transform(rows)) for rows in (tail, test))
    return {key: (np.asarray(a, np.float32), np.asarray(b, np.float32)) for key, (a, b) in found.items()}


def bounded(before, scores, q=0.99):
    """The score over its boundary, the trailing one-day q-quantile: 1 is the boundary, as in the product."""
    low = min(before.min(), scores.min())  # a ratio needs a zero: some scores are negative
    boundary = trailing_quantile(scores - low, DAY, q, before - low)
    return (scores - low) / np.maximum(boundary * (1 + 1e-6), 1e-9)  # a score that is saturated does not pass itself


def opened(over, confirm=3, quiet=30):
    """Rows at which an incident is confirmed: `confirm` rows over in a run; over again only after `quiet` rows that are not."""
    found, run, calm, is_open = [], 0, quiet, False
    for row, now in enumerate(np.asarray(over, bool).tolist()):
        run, calm = (run + 1, 0) if now else (0, calm + 1)
        if is_open:
            is_open = calm < quiet
        elif run >= confirm:
            is_open = True
            found.append(row)
    return found


def windowed_z(values, window=1000):
    """|z| under the mean and deviation of the `window` rows before: NAB's windowed Gaussian before its tail function."""
    values = np.asarray(values, float)
    sums, squares = np.r_[0, np.cumsum(values)], np.r_[0, np.cumsum(values * values)]
    rows = np.arange(1, len(values))
    first = np.maximum(0, rows - window)
    count = rows - first
    mean = (sums[rows] - sums[first]) / count
    variance = (squares[rows] - squares[first]) / count - mean * mean
    return np.r_[0.0, np.abs(values[1:] - mean) / np.sqrt(np.maximum(variance, 1e-12))]


def from_expanding_mean(values):
    """Distance from the mean of all rows before."""
    values = np.asarray(values, float)
    return np.abs(values - np.r_[values[:1], np.cumsum(values)[:-1] / np.arange(1, len(values))])


def first_after_quiet(over, quiet):
    """Rows that are over with none over in the `quiet` rows before."""
    found, last = [], -math.inf
    for row in np.nonzero(over)[0].tolist():
        if row - last > quiet:
            found.append(row)
        last = row
    return found


def nab(values, seed=1):
    """name -> rows of one series that the baseline would report; no threshold depends on labels."""
    values = np.asarray(values, float)
    far = from_expanding_mean(values)
    over = far > expanding_quantile(far, 0.998)
    gauss = windowed_z(values) > 3.29  # two-sided p < .001
    begin = max(int(0.15 * len(values)), 2)
    pairs = np.c_[values, np.r_[0.0, np.diff(values)]]
    score = forest(pairs[:min(begin, 750)], pairs, seed)
    moving = trailing_quantile(far, 288, 0.99)
    return {"expanding q.998, each row": np.nonzero(over)[0].tolist(),
            "expanding q.998, one an hour of quiet": first_after_quiet(over, 12),
            "trailing one-day q.99 of |z|, one an hour of quiet": first_after_quiet(far > np.maximum(moving, 1e-12), 12),
            "windowed Gaussian, p < .001, each row": np.nonzero(gauss)[0].tolist(),
            "windowed Gaussian, p < .001, one an hour of quiet": first_after_quiet(gauss, 12),
            "scikit-learn IsolationForest, expanding q.998, one an hour of quiet":
                first_after_quiet(score > expanding_quantile(score, 0.998), 12)}
