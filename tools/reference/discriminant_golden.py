"""Linear discriminants with a shrunk covariance by NumPy and SciPy.

    pip install numpy scipy
    python tools/reference/discriminant_golden.py > crates/autoglm-task/fixtures/discriminant.json

With fewer samples than numbers and with more. Numbers are rounded to what 32 bits hold, so that
both sides compute with the same.
"""

import json

import numpy as np
from scipy.special import log_softmax


def narrow(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def log_probabilities(train, places, test, shrinkage):
    labels = np.unique(places)
    means = np.array([train[places == label].mean(axis=0) for label in labels])
    residuals = train - means[places]
    covariance = residuals.T @ residuals / (len(train) - len(labels))
    shrunk = shrinkage * np.diag(np.diag(covariance)) + (1 - shrinkage) * covariance
    weights = np.linalg.solve(shrunk, means.T)
    offsets = -0.5 * np.einsum("kd,dk->k", means, weights)
    return log_softmax(test @ weights + offsets, axis=1)


def main():
    rng = np.random.default_rng(7)
    probes = []
    for labels, each, width, shrinkage in [
        (3, 6, 5, 0.5),
        (4, 3, 40, 0.85),
        (3, 20, 4, 0.02),
        (5, 4, 24, 0.1),
    ]:
        places = np.repeat(np.arange(labels), each)
        means = rng.normal(size=(labels, width))
        train = narrow(means[places] + 0.7 * rng.normal(size=(labels * each, width)))
        train = narrow(train * rng.uniform(0.1, 5, width))
        test = narrow(rng.normal(size=(6, width)))
        probes.append(
            {
                "shrinkage": shrinkage,
                "train": train.tolist(),
                "labels": places.tolist(),
                "test": test.tolist(),
                "log_probabilities": log_probabilities(
                    train, places, test, shrinkage
                ).tolist(),
            }
        )
    print(json.dumps({"probes": probes}))


main()
