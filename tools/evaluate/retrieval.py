"""Retrieval beside txtai: how good rankings are, how long indexing and queries take, with the same model of vectors.

    python tools/evaluate/retrieval.py --autoglm target/release/autoglm --data SCIFACT [--model FOLDER] [--threads 2]

SCIFACT has corpus.jsonl, queries.jsonl and qrels.txt. The model is all-MiniLM-L6-v2 as `autoglm model pull` keeps it.
Both index title and text of each document with words and vectors, from nothing, and answer all queries that are judged,
100 documents each; loading the model counts for neither. Run it with an environment that has txtai.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import tempfile
import time


def read(folder):
    lines = lambda name: [json.loads(line) for line in open(folder / name, encoding="utf-8")]
    grades = {}
    for line in open(folder / "qrels.txt", encoding="utf-8"):
        query, _, document, grade = line.split()
        grades.setdefault(query, {})[document] = int(grade)
    queries = [query for query in lines("queries.jsonl") if query["id"] in grades]
    return lines("corpus.jsonl"), queries, grades


def ndcg(ranking, grades):
    gain = lambda values: sum(value / math.log2(rank + 2) for rank, value in enumerate(values))
    best = gain(sorted(grades.values(), reverse=True)[:10])
    return gain(grades.get(name, 0) for name in ranking[:10]) / best


def ours(args, folder, more):
    with tempfile.TemporaryDirectory() as home:
        environment = dict(os.environ, AUTOGLM_HOME=home)
        models = pathlib.Path(args.model).resolve().parent
        os.symlink(models, pathlib.Path(home) / "models")
        run = lambda *command: subprocess.run(
            [args.autoglm, *command, "--threads", str(args.threads)],
            env=environment, capture_output=True, text=True, check=True,
        )
        start = time.perf_counter()
        run("index", str(folder / "corpus.jsonl"))
        indexed = time.perf_counter() - start
        found = json.loads(run("search", "--eval", str(folder), "--json", *more).stdout)
    return indexed, found["seconds"], found["report"]["ndcg_10"]["mean"]


def theirs(args, documents, queries, grades):
    import torch
    from txtai import Embeddings

    torch.set_num_threads(args.threads)
    embeddings = Embeddings({"path": args.model, "hybrid": True})
    embeddings.batchtransform(["a first text loads the model"])
    start = time.perf_counter()
    embeddings.index((d["id"], d["title"] + "\n" + d["text"]) for d in documents)
    indexed = time.perf_counter() - start
    start = time.perf_counter()
    found = embeddings.batchsearch([query["text"] for query in queries], 100)
    seconds = time.perf_counter() - start
    scores = [ndcg([str(name) for name, _ in ranking], grades[query["id"]]) for query, ranking in zip(queries, found)]
    return indexed, seconds, sum(scores) / len(scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--model", default=os.path.expanduser("~/.local/share/autoglm/models/all-minilm-l6-v2"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    documents, queries, grades = read(args.data)
    for name, measured in [
        ("autoglm", lambda: ours(args, args.data, [])),
        ("autoglm, reciprocal ranks", lambda: ours(args, args.data, ["--fusion", "rrf"])),
        ("txtai, hybrid", lambda: theirs(args, documents, queries, grades)),
    ]:
        indexed, seconds, quality = measured()
        print(f"{name:26} index {indexed:6.1f} s   {len(queries)} queries {seconds:6.2f} s   nDCG@10 {quality:.4f}")


if __name__ == "__main__":
    main()
