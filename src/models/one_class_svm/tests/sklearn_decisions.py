"""Writes sklearn.json beside it: rows, and what scikit-learn's OneClassSVM decides about them.

tests/stack/setup sklearn      prints a Python that has scikit-learn (the file was made with 1.9.1)
"""
import json
import pathlib

import numpy as np
from sklearn.svm import OneClassSVM


def host(rng, count):
    """cpu, mem, disk, net, latency of a host by day and by night, driven by one load."""
    mean = np.array([[60, 55, 40, 80, 30], [25, 45, 30, 20, 15]], dtype=float)
    sigma, share = np.array([8, 4, 5, 10, 4.0]), np.array([0.8, 0.5, 0.4, 0.7, 0.6])
    own = np.sqrt(1 - share**2) * rng.normal(size=(count, 5))
    return mean[rng.integers(0, 2, count)] + sigma * (share * rng.normal(size=(count, 1)) + own)


def moons(rng, count):
    """Two bent bands in a plane, and six features of noise."""
    angle, upper = rng.uniform(0, np.pi, count), rng.integers(0, 2, count)
    plane = np.stack([np.cos(angle) + upper, np.where(upper, 0.4 - np.sin(angle), np.sin(angle))], 1)
    return np.hstack([4 * plane + 0.3 * rng.normal(size=(count, 2)), rng.normal(size=(count, 6))])


def case(name, table, train, nu, gamma):
    svm = OneClassSVM(nu=nu, gamma=gamma).fit(table[:train])
    return {
        "rows": name, "train": train, "nu": nu, "gamma": gamma if gamma == "scale" else str(gamma),
        "support": len(svm.support_), "rho": float(-svm.intercept_[0]),
        "decisions": [float(f"{value:.6g}") for value in svm.decision_function(table[train:])],
    }


rng = np.random.default_rng(1)
tables = {}
for name, make, train, test in (("host", host, 500, 700), ("moons", moons, 300, 300)):
    table = make(rng, train + test)
    table = (table - table[:train].mean(0)) / table[:train].std(0)
    far = train + np.flatnonzero(rng.random(test) < 0.15)
    table[far, rng.integers(0, table.shape[1], len(far))] += rng.choice([-1, 1], len(far)) * rng.uniform(3, 8, len(far))
    tables[name] = np.round(table, 3)
cases = [
    case("host", tables["host"], 500, nu, gamma)
    for nu, gamma in ((0.01, "scale"), (0.01, 0.06), (0.05, 0.2), (0.5, "scale"))
] + [case("moons", tables["moons"], 300, nu, gamma) for nu, gamma in ((0.02, "scale"), (0.1, 0.3))]
recorded = {"tables": {name: [list(row) for row in table] for name, table in tables.items()}, "cases": cases}
path = pathlib.Path(__file__).with_name("sklearn.json")
path.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
