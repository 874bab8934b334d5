"""The models alone, beside scikit-learn: programs of src/models/examples on the same files.

A program that is not there is a line that says so: the page never shows a figure that this run did not measure.
"""
import gzip
import os
import subprocess
import tempfile

import numpy as np

import baselines
import data
import metrics
import replay

SEEDS = ("1", "2", "3", "4", "5")


def example(name):
    """An example program, built by `run`; None when there is none."""
    path = data.Path(os.environ.get("SENTINEL_EXAMPLES", "/nonexistent")) / name
    return path if path.is_file() else None


def unpacked(machine, folder):
    paths = []
    for part, path in (("train", machine.train_path), ("test", machine.test_path)):
        paths.append(data.Path(folder) / f"{machine.name}.{part}.csv")
        paths[-1].write_bytes(gzip.decompress(path.read_bytes()))
    return paths


def absent(title, measure, reference, target, what):
    return {"title": title, "headline": [[measure, reference, target, "not measured", None]], "text": f"Not measured: {what}.",
            "tables": [], "plots": [], "cut": {}}


def forest_section(only=None):
    title, measure = "Isolation forest alone", "isolation forest alone, mean ROC-AUC over 5 seeds"
    program, machines = example("smd_auc"), data.machines(only)
    if program is None:
        return absent(title, measure, "scikit-learn .747", "within .01", "the example smd_auc is not built")
    by_hand = data.Path(baselines.__file__)

    def one(machine):
        def theirs():
            return [metrics.roc_auc(machine.labels == 1, baselines.forest(machine.train, machine.test, int(seed))) for seed in SEEDS]

        def mine():
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run([program, *unpacked(machine, folder), *SEEDS], capture_output=True, text=True, check=True)
            return [float(line.split()[0]) for line in done.stdout.splitlines()]

        inputs = [machine.train_path, machine.test_path]
        return (data.cached("forest-ours", [program, *inputs], mine),
                data.cached("forest-sklearn", [by_hand, *inputs], theirs))

    found = replay.progress("isolation forest", machines, one)
    ours, theirs = (np.array([pair[i] for pair in found]) for i in (0, 1))
    gain, (low, high) = metrics.paired_gain(ours.mean(1), theirs.mean(1))
    rows = [[machine.name, f"{a.mean():.3f} ({a.std():.3f})", f"{b.mean():.3f} ({b.std():.3f})", f"{a.mean() - b.mean():+.3f}"]
            for machine, a, b in zip(machines, ours, theirs)]
    z = [metrics.roc_auc(machine.labels == 1, baselines.largest(baselines.train_scaled(machine.train, machine.test), count))
         for count in (1, 3) for machine in machines]
    rows.append(["mean", f"{ours.mean():.4f}", f"{theirs.mean():.4f}", f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"])
    return {
        "title": title,
        "headline": [[measure, "scikit-learn .747", "within .01 of scikit-learn's, or above",
                      f"{ours.mean():.4f}; scikit-learn {theirs.mean():.4f} in the same run", bool(gain >= -0.01)]],
        "text": "100 trees of 256 rows, fitted on train, scored on test; mean (deviation) over seeds 1 to 5. The same measure for the "
                f"largest |z| is {np.mean(z[:len(machines)]):.3f}, for the three largest {np.mean(z[len(machines):]):.3f}, for chance .5.",
        "tables": [{"head": ["machine", "ours", "scikit-learn", "difference"], "rows": rows}],
        "plots": [], "cut": {"forest_auc": float(ours.mean())},
    }


def svm_section(only=None):
    """Correlation and sign agreement of decision values. The example: svm_decisions.rs."""
    title, measure = "One-class SVM beside scikit-learn", "one-class SVM: decision correlation / sign agreement with scikit-learn"
    program = example("svm_decisions")
    if program is None:
        return absent(title, measure, "1 / 1", ".9999 / .999", "the example svm_decisions is not built")
    machines = data.machines(only)

    def one(machine):
        with tempfile.TemporaryDirectory() as folder:
            train, test = scaled(machine)
            files = [data.Path(folder) / name for name in ("train.csv", "test.csv")]
            for path, rows in zip(files, (train, test)):
                np.savetxt(path, rows, delimiter=",", fmt="%.9g")
            done = subprocess.run([program, *files, "0.01", str(gamma(train))], capture_output=True, text=True, check=True)
        mine = np.array([float(line.split()[0]) for line in done.stdout.splitlines()])
        theirs = data.cached("svm-sklearn", [machine.train_path, machine.test_path, data.Path(__file__)],
                             lambda: sklearn_svm(train, test))
        return float(np.corrcoef(mine, theirs)[0, 1]), float(np.mean((mine >= 0) == (theirs >= 0)))

    found = replay.progress("one-class SVM", machines, one)
    correlation, agreement = (np.array([pair[i] for pair in found]) for i in (0, 1))
    rows = [[machine.name, f"{a:.6f}", f"{b:.5f}"] for machine, a, b in zip(machines, correlation, agreement)]
    return {
        "title": title,
        "headline": [[measure, "1 / 1", ".9999 / .999", f"{correlation.min():.6f} / {agreement.min():.5f} on the worst machine",
                      bool(correlation.min() >= 0.9999 and agreement.min() >= 0.999)]],
        "text": "RBF, nu .01, the same 2,000 train rows (every k-th) and gamma = 1 / (features x variance) for both; decision values "
                "of every tenth test row.",
        "tables": [{"head": ["machine", "correlation", "sign agreement"], "rows": rows}], "plots": [],
        "cut": {"svm_correlation": float(correlation.min())},
    }


def scaled(machine):
    train = machine.train
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation = np.where(deviation == 0, 1.0, deviation)
    step = len(train) // 2000
    return ((train[::step][:2000] - mean) / deviation).round(6), ((machine.test[::10] - mean) / deviation).round(6)


def gamma(train):
    return float(1.0 / (train.shape[1] * train.var()))


def sklearn_svm(train, test):
    from sklearn.svm import OneClassSVM
    return OneClassSVM(kernel="rbf", nu=0.01, gamma=gamma(train), tol=1e-6).fit(train).decision_function(test)
