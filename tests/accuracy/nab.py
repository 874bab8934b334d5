"""NAB's scoring of detections (Lavin and Ahmad 2015; constants and edge rules as in the NAB repository, version 1.1).

What counts: within a window the earliest detection, worth up to 1 at its left edge and near 0 at its right edge; a window
without one costs A_fn; each detection outside costs up to A_fp, less just after a window. The first 15 % of a series, at
most 750 rows, is probation and does not count. The corpus sum is scaled so that no detection is 0 and a perfect one 100.
Unlike NAB no threshold is searched for: the detector says when it detects.
"""
import math

import numpy as np

PROFILES = {  # A_tp, A_fp, A_fn
    "standard": (1.0, 0.11, 1.0),
    "low_FP": (1.0, 0.22, 1.0),
    "low_FN": (1.0, 0.11, 2.0),
}


def scaled_sigmoid(position):
    """2 / (1 + e^(5 position)) - 1; -1 from three window widths behind a window on."""
    return -1.0 if position >= 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def probation(n_rows):
    return int(min(math.floor(0.15 * n_rows), 750))


def window_rows(timestamps, windows):
    """Windows in seconds as (first row, last row); a limit that is no row's time is an error, as in NAB."""
    first = {}
    for row, timestamp in enumerate(np.asarray(timestamps).tolist()):
        first.setdefault(timestamp, row)
    return [(first[a], first[b]) for a, b in sorted(windows)]


def raw_score(n_rows, detected_rows, windows, profile="standard"):
    """Score of one series. `detected_rows`: row numbers; `windows`: (first, last) row, inclusive, in order."""
    a_tp, a_fp, a_fn = PROFILES[profile]
    begin = probation(n_rows)
    detected = sorted({int(row) for row in detected_rows if begin <= row < n_rows})
    total, inside = 0.0, set()
    for first, last in windows:
        if last < begin:
            continue
        width = last - first + 1
        hits = [row for row in detected if first <= row <= last]
        inside.update(hits)
        if hits:
            total += a_tp * scaled_sigmoid(-(last - hits[0] + 1) / width) / scaled_sigmoid(-1.0)
        else:
            total -= a_fn
    for row in detected:
        if row in inside:
            continue
        before = [(first, last) for first, last in windows if last < row]
        position = (row - before[-1][1]) / max(before[-1][1] - before[-1][0], 1) if before else 3.0
        total += a_fp * scaled_sigmoid(position)
    return total


def normalised(raw, n_windows, profile="standard"):
    """Sum of `raw` over the corpus on NAB's scale: 0 is a detector that says nothing, 100 a perfect one."""
    a_tp, _, a_fn = PROFILES[profile]
    null, perfect = -a_fn * n_windows, a_tp * n_windows
    return 100.0 * (raw - null) / (perfect - null)


def corpus_score(series, detections, profile="standard"):
    """`series`: name -> (timestamps, windows in seconds); `detections`: name -> times in seconds."""
    raw, n_windows = 0.0, 0
    for name, (timestamps, limits) in series.items():
        windows = window_rows(timestamps, limits)
        rows = rows_at(timestamps, detections.get(name, ()))
        raw += raw_score(len(timestamps), rows, windows, profile)
        n_windows += len(windows)
    return normalised(raw, n_windows, profile)


def rows_at(timestamps, times):
    """The first row at or after each time: a detection is never credited to a row before it was made."""
    timestamps = np.maximum.accumulate(np.asarray(timestamps))  # NAB has a few rows out of order
    return np.minimum(np.searchsorted(timestamps, np.asarray(sorted(times), float), side="left"), len(timestamps) - 1)
