"""Shrunk covariances and linear discriminants by scikit-learn and NumPy.

    pip install scikit-learn
    python tools/reference/discriminant_golden.py > crates/autoglm-task/fixtures/discriminant.json

The covariance is scikit-learn's `ledoit_wolf` of the samples less the means of their labels, on
numbers of the same spread, scaled back. Numbers are rounded to what 32 bits hold, so that both
sides compute with the same.
"""

import json

import numpy as np
from scipy.special import log_softmax
from sklearn.covariance import ledoit_wolf


def narrow(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def covariance(residuals, freedom):
    spread = np.sqrt((residuals**2).sum(axis=0) / freedom)
    even = residuals / np.sqrt((residuals**2).mean(axis=0))
    shrunk, _ = ledoit_wolf(even, assume_centered=True)
    return spread[:, None] * shrunk * spread[None, :]


def log_probabilities(train, places, test):
    labels = np.unique(places)
    means = np.array([train[places == label].mean(axis=0) for label in labels])
    shrunk = covariance(train - means[places], len(train) - len(labels))
    weights = np.linalg.solve(shrunk, means.T)
    offsets = -0.5 * np.einsum("kd,dk->k", means, weights)
    return log_softmax(test @ weights + offsets, axis=1)


def main():
    rng = np.random.default_rng(7)
    covariances, probes = [], []
    for count, width in [(5, 3), (12, 6), (40, 4), (3, 8)]:
        residuals = rng.normal(size=(count, width)) * rng.uniform(0.1, 5, width)
        freedom = max(1, count - 3)
        covariances.append(
            {
                "residuals": residuals.tolist(),
                "freedom": freedom,
                "covariance": covariance(residuals, freedom).tolist(),
            }
        )
    for labels, each, width in [(3, 6, 5), (4, 3, 10), (3, 20, 4)]:
        places = np.repeat(np.arange(labels), each)
        means = rng.normal(size=(labels, width))
        train = narrow(means[places] + 0.7 * rng.normal(size=(labels * each, width)))
        test = narrow(rng.normal(size=(6, width)))
        probes.append(
            {
                "train": train.tolist(),
                "labels": places.tolist(),
                "test": test.tolist(),
                "log_probabilities": log_probabilities(train, places, test).tolist(),
            }
        )
    print(json.dumps({"covariances": covariances, "probes": probes}))


main()
