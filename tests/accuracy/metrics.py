"""The measures: numbers in, one number out. No files, no detector, no settings.

Facts: average precision and ROC area as in Davis and Goadrich 2006; the bootstrap as in Efron 1979 (percentile interval over
machines); NAB's scoring as in Lavin and Ahmad 2015 and the scorer of the NAB repository, version 1.1 (nab.py beside this).
`test_metrics.py` recomputes each of them by hand. Point-adjusted F1 is not here: a random score passes it.
"""
import numpy as np

WEEK = 7 * 86400


def roc_auc(labels, scores):
    """Probability that an anomalous row scores above a normal one; ties count half. NaN scores are the lowest."""
    labels, scores = np.asarray(labels, bool), lowest(scores)
    positive, negative = labels.sum(), (~labels).sum()
    if not positive or not negative:
        return float("nan")
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(labels, scores):
    """Area under precision and recall as a step function: the sum over thresholds of (rise of recall) x precision."""
    labels, scores = np.asarray(labels, bool), lowest(scores)
    if not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    ends = np.r_[np.nonzero(np.diff(scores[order]))[0], len(scores) - 1]  # the last row of each run of equal scores
    precision = hits[ends] / (ends + 1)
    return float(np.sum(np.diff(np.r_[0, hits[ends]]) * precision) / labels.sum())


def lowest(scores):
    """A row without a score is taken as the least anomalous of all."""
    scores = np.asarray(scores, float)
    finite = np.isfinite(scores)
    if finite.all():
        return scores
    floor = scores[finite].min() - 1.0 if finite.any() else 0.0
    return np.where(finite | (scores == np.inf), scores, floor)


def segments(labels):
    """Runs of anomalous rows as (first, last), both inclusive."""
    step = np.diff(np.r_[0, np.asarray(labels, int), 0])
    return list(zip(np.nonzero(step == 1)[0].tolist(), (np.nonzero(step == -1)[0] - 1).tolist()))


def score_rows(labels, scores, boundary=1.0):
    """(segments with a row at the boundary or above, segments, normal rows there, normal rows)."""
    over = np.asarray(scores, float) >= boundary  # NaN is not
    normal = np.asarray(labels) == 0
    runs = segments(labels)
    return sum(bool(over[a:b + 1].any()) for a, b in runs), len(runs), int(over[normal].sum()), int(normal.sum())


def openings(times, runs, normal_seconds, longer_than=300, slack=0):
    """What opened where. `times`: seconds at which incidents opened. `runs`: (start, end, seconds long), times inclusive.

    hit: long runs in which at least one opened; long: runs longer than `longer_than`; false: openings in no run at all
    (one in a short run, or a second one in the same run, is neither hit nor false); weeks of normal time.
    """
    times = np.asarray(sorted(times), float)
    long = [(a, b) for a, b, seconds in runs if seconds > longer_than]
    inside = np.zeros(len(times), bool)
    for a, b, _ in runs:
        inside |= (times >= a - slack) & (times <= b + slack)
    hit = sum(bool(((times >= a - slack) & (times <= b + slack)).any()) for a, b in long)
    return {"hit": hit, "long": len(long), "false": int((~inside).sum()), "opened": len(times),
            "weeks": normal_seconds / WEEK}


def bootstrap(values, statistic=np.mean, times=10_000, seed=1, level=0.95):
    """(low, high): percentile interval of the statistic when whole machines (or series) are drawn anew."""
    values = np.asarray(values, float)
    draws = np.random.default_rng(seed).integers(0, len(values), (times, len(values)))
    found = statistic(values[draws], axis=1)
    return tuple(float(x) for x in np.quantile(found, [(1 - level) / 2, (1 + level) / 2]))


def paired_gain(ours, theirs):
    """Mean difference with its bootstrap interval, drawn by machine."""
    gain = np.asarray(ours, float) - np.asarray(theirs, float)
    return float(gain.mean()), bootstrap(gain)


def pooled_gain(ours, theirs, sizes, times=10_000, seed=1):
    """Difference of two pooled shares, sum(ours - theirs) / sum(sizes), with its bootstrap interval; units drawn whole."""
    gain, sizes = np.asarray(ours, float) - np.asarray(theirs, float), np.asarray(sizes, float)
    draws = np.random.default_rng(seed).integers(0, len(gain), (times, len(gain)))
    drawn = sizes[draws].sum(axis=1)
    found = gain[draws].sum(axis=1)[drawn > 0] / drawn[drawn > 0]
    return float(gain.sum() / sizes.sum()), tuple(float(x) for x in np.quantile(found, [0.025, 0.975]))


def shown(gain, interval, form="+.3f"):
    return f"{gain:{form}} ({interval[0]:{form}} to {interval[1]:{form}})"


def in_top(ranking, causes, k):
    """Whether any of the true causes is among the first k."""
    return bool(set(ranking[:k]) & set(causes))


def interval_score(actual, lower, upper, level=0.95):
    """Winkler's interval score (Gneiting and Raftery 2007, eq. 43), mean: width plus 2/alpha for each unit outside."""
    alpha = 1 - level
    actual, lower, upper = (np.asarray(x, float) for x in (actual, lower, upper))
    outside = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return float(np.mean(upper - lower + 2 / alpha * outside))


def coverage(actual, lower, upper):
    """Share of values inside the band, its ends included."""
    actual = np.asarray(actual, float)
    return float(np.mean((actual >= np.asarray(lower, float)) & (actual <= np.asarray(upper, float))))
