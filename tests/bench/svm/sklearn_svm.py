"""The peer of src/models/examples/svm_bench.rs: the same fits and scores with scikit-learn.

sklearn_svm.py make TRAIN TEST                          writes both sides' rows: 5,000 and 20,000 of 5 doubles
sklearn_svm.py run TRAIN TEST NU GAMMA DECISIONS        CPU times (medians of 5) as svm_bench prints them, and how far
                                                        DECISIONS, what svm_bench wrote, are from scikit-learn's
"""
import statistics
import sys
import time

import numpy as np
from sklearn.svm import OneClassSVM

WIDTH = 5
REPEATS = 5


def cpu_seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def median(work):
    return statistics.median(cpu_seconds(work) for _ in range(REPEATS))


def make(train_path, test_path):
    """A host by day and by night: cpu, mem, disk, net, latency driven by one load; standardised."""
    rng = np.random.default_rng(1)
    mean = np.array([[60, 55, 40, 80, 30], [25, 45, 30, 20, 15]], dtype=float)
    sigma, share = np.array([8, 4, 5, 10, 4.0]), np.array([0.8, 0.5, 0.4, 0.7, 0.6])

    def rows(count):
        load = rng.normal(size=(count, 1))
        own = np.sqrt(1 - share**2) * rng.normal(size=(count, WIDTH))
        return mean[rng.integers(0, 2, count)] + sigma * (share * load + own)

    train, test = rows(5_000), rows(20_000)
    far = rng.random(len(test)) < 0.05
    test[far, rng.integers(0, WIDTH)] += 40.0
    for path, table in ((train_path, train), (test_path, test)):
        ((table - train.mean(0)) / train.std(0)).tofile(path)


def run(train_path, test_path, nu, gamma, decisions_path):
    train, test = (np.fromfile(path).reshape(-1, WIDTH) for path in (train_path, test_path))
    ours = np.fromfile(decisions_path)
    svm = OneClassSVM(nu=float(nu), gamma=float(gamma))
    print(f"fit {median(lambda: svm.fit(train)) * 1e3:.3f} ms")
    print(f"score_rows {median(lambda: svm.decision_function(test)) / len(test) * 1e6:.4f} us/row")
    print(f"score_row {median(lambda: [svm.decision_function(test[:1]) for _ in range(20)]) / 20 * 1e6:.4f} us")
    theirs = svm.decision_function(test)
    print(f"support_vectors {len(svm.support_)} of-rows")
    print(f"outside {np.mean(svm.decision_function(train) < 0):.4f} of-rows")
    print(f"correlation {np.corrcoef(ours, theirs)[0, 1]:.8f} of-decisions")
    print(f"same_sign {np.mean((ours < 0) == (theirs < 0)):.5f} of-rows")
    print(f"largest_difference {np.abs(ours - theirs).max() / np.ptp(theirs):.2e} of-range")


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](*sys.argv[2:])
