"""The same measurement as src/models/examples/smd_auc.rs with scikit-learn: one line `AUC FIT_MS` per seed.

sklearn_auc.py TRAIN.csv TEST.csv SEED...     columns: timestamp, features, label
sklearn_auc.py --bench                        CPU times as src/models/examples/forest_bench.rs prints them
"""
import statistics
import sys
import time

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score


def cpu_seconds(work, times=1):
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def read(path):
    table = np.genfromtxt(path, delimiter=",", skip_header=1, dtype=np.float64)
    return table[:, 1:-1], table[:, -1] == 1


def smd(train_path, test_path, seeds):
    train, _ = read(train_path)
    test, anomalous = read(test_path)
    for seed in seeds:
        forest = IsolationForest(n_estimators=100, max_samples=256, random_state=int(seed))
        fit = cpu_seconds(lambda: forest.fit(train))
        print(f"{roc_auc_score(anomalous, -forest.score_samples(test)):.4f} {fit * 1e3:.3f}", flush=True)


def bench(repeats=5):
    rng = np.random.default_rng(1)
    load = rng.normal(size=20_000) + 3.0 * rng.integers(0, 2, 20_000)
    rows = 0.6 * load[:, None] + 0.8 * rng.normal(size=(20_000, 5))
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=42)

    def median(work):
        return statistics.median(cpu_seconds(work) for _ in range(repeats))

    print(f"fit {median(lambda: forest.fit(rows)) * 1e3:.2f} ms")
    print(f"score_row {median(lambda: forest.score_samples(rows[:1])) * 1e6:.2f} us")
    print(f"score_rows {median(lambda: forest.score_samples(rows)) / len(rows) * 1e6:.2f} us/row")


if __name__ == "__main__":
    bench() if sys.argv[1:] == ["--bench"] else smd(sys.argv[1], sys.argv[2], sys.argv[3:])
