"""Shrunk covariances and linear discriminants by scikit-learn.

    pip install scikit-learn
    python tools/reference/discriminant_golden.py > crates/autoglm-task/fixtures/discriminant.json

The covariance is the one within `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`:
Ledoit and Wolf's on numbers of the same spread, scaled back. Numbers are rounded to what 32 bits
hold, so that both sides compute with the same.
"""

import json

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler


def narrow(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def covariance(samples):
    scaler = StandardScaler()
    shrunk, _ = ledoit_wolf(scaler.fit_transform(samples))
    return scaler.scale_[:, None] * shrunk * scaler.scale_[None, :]


def main():
    rng = np.random.default_rng(7)
    covariances, probes = [], []
    for count, width in [(5, 3), (12, 6), (40, 4), (3, 8)]:
        samples = narrow(rng.normal(size=(count, width)) * rng.uniform(0.1, 5, width) + 2)
        covariances.append(
            {"samples": samples.tolist(), "covariance": covariance(samples).tolist()}
        )
    for labels, each, width in [(3, 6, 5), (4, 3, 10), (3, 20, 4)]:
        places = np.repeat(np.arange(labels), each)
        means = rng.normal(size=(labels, width))
        train = narrow(means[places] + 0.7 * rng.normal(size=(labels * each, width)))
        test = narrow(rng.normal(size=(6, width)))
        model = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=np.full(labels, 1 / labels)
        ).fit(train, places)
        probes.append(
            {
                "train": train.tolist(),
                "labels": places.tolist(),
                "test": test.tolist(),
                "log_probabilities": model.predict_log_proba(test).tolist(),
            }
        )
    print(json.dumps({"covariances": covariances, "probes": probes}))


main()
