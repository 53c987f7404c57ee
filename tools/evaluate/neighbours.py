"""How often the nearest text has the same label: what vectors of texts are worth for finding like ones.

    python tools/evaluate/neighbours.py --autoglm target/release/autoglm --data LABELLED.jsonl [--model MODEL] [--pooling last]

LABELLED.jsonl has objects with `text` and `label`. Each of the first --limit records is given the label of the record
nearest to it among the others; printed is the share that is right with its 95 % interval (Wilson), and beside it the
majority class and the nearest record by words in common (cosine of tf-idf over words, and single characters of Chinese).
Only numpy is needed.
"""

import argparse
import collections
import json
import math
import re
import subprocess

import numpy as np


def vectors_of(args, records):
    command = [args.autoglm, "embed", "--input", "-", "--input-format", "jsonl", "--threads", str(args.threads)]
    for option in ("model", "pooling"):
        if getattr(args, option):
            command += [f"--{option}", getattr(args, option)]
    lines = "".join(json.dumps({"text": record["text"]}) + "\n" for record in records)
    ran = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return np.array([json.loads(line)["vector"] for line in ran.stdout.splitlines()])


def bags_of(records):
    """tf-idf of words, of length 1."""
    bags = [collections.Counter(re.findall(r"[一-鿿]|\w+", record["text"].lower())) for record in records]
    known = {word: i for i, word in enumerate({word for bag in bags for word in bag})}
    matrix = np.zeros((len(bags), len(known)))
    for row, bag in zip(matrix, bags):
        for word, count in bag.items():
            row[known[word]] = 1 + math.log(count)
    matrix *= np.log(len(bags) / (matrix > 0).sum(0))
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def right(vectors, labels):
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    return sum(labels[i] == labels[j] for i, j in enumerate(near.argmax(1)))


def told(name, count, total):
    share, z = count / total, 1.96
    middle = (share + z * z / 2 / total) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / 4 / total ** 2) / (1 + z * z / total)
    print(f"{name:16} {share:.3f} ({middle - half:.3f} to {middle + half:.3f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model")
    parser.add_argument("--pooling")
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    records = [json.loads(line) for line in open(args.data, encoding="utf-8")][:args.limit]
    labels = [record["label"] for record in records]
    told("majority class", max(collections.Counter(labels).values()), len(labels))
    told("words in common", right(bags_of(records), labels), len(labels))
    told("vectors", right(vectors_of(args, records), labels), len(labels))


if __name__ == "__main__":
    main()
