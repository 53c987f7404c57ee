"""Which probe on a language model's hidden states knows most from few labelled rows.

    pip install scikit-learn numpy
    AUTOGLM_DATA=DATA python tools/evaluate/probes.py --autoglm target/release/autoglm

Question types (`trec` in DATA): the state behind a prompt without examples, by the default model for
closed answers, of 1,200 training rows and all test rows; 10 and 50 rows of a label, three draws each.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier

INSTRUCTION = (
    "Classify the question by the type of its answer: abbreviation, entity, description, person, "
    "location or number."
)
TRAINING_ROWS = 1200


def rows_of(path, count=None):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file][:count]


def states(autoglm, model, rows):
    """The model's last hidden state behind each row's prompt: [n, width]."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for row in rows:
            prompt = f"{INSTRUCTION}\n\nQuestion: {row['text']}\nType:"
            file.write(json.dumps({"text": prompt}) + "\n")
        file.flush()
        command = [autoglm, "embed", "-i", file.name, "--model", model, "--pooling", "last"]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return np.array([json.loads(line)["vector"] for line in found.splitlines()])


def draw(labels, per_label, seed):
    rng = random.Random(seed)
    places = []
    for label in sorted(set(labels)):
        of_label = [place for place, found in enumerate(labels) if found == label]
        places += rng.sample(of_label, min(per_label, len(of_label)))
    return places


def probes(labels):
    even = np.full(labels, 1 / labels)
    return {
        "discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=even),
        "logistic regression, C = 1": LogisticRegression(C=1, max_iter=500),
        "logistic regression, C = 100": LogisticRegression(C=100, max_iter=500),
        "ridge, chosen by leaving one out": RidgeClassifierCV(np.logspace(-3, 3, 13)),
        "nearest neighbour": KNeighborsClassifier(1, metric="cosine"),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--autoglm", default="target/release/autoglm")
    parser.add_argument("--model", default="gemma-3-270m-q4_k_m")
    options = parser.parse_args()
    folder = pathlib.Path(os.environ["AUTOGLM_DATA"]) / "trec"
    train, test = rows_of(folder / "train.jsonl", TRAINING_ROWS), rows_of(folder / "test.jsonl")
    labels = np.array([row["label"] for row in train])
    right = np.array([row["label"] for row in test])
    train = states(options.autoglm, options.model, train)
    test = states(options.autoglm, options.model, test)
    centre, spread = train.mean(0), train.std(0).mean()
    train, test = (train - centre) / spread * 0.1, (test - centre) / spread * 0.1
    for per_label in (10, 50):
        draws = [draw(labels.tolist(), per_label, seed) for seed in range(3)]
        for name, probe in probes(len(set(labels))).items():
            shares = [
                (probe.fit(train[places], labels[places]).predict(test) == right).mean()
                for places in draws
            ]
            print(f"{per_label} of a label, {name}: {np.mean(shares):.3f}", flush=True)


main()
