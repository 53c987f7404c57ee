"""What rankings by words, by vectors and by both are worth, which terms of Chinese to index, and when to refuse.

    python tools/evaluate/fusion.py --autoglm target/release/autoglm --data DATA [--cache FOLDER] [--model MODEL]

DATA has scifact/ and xquad/. Over SQLite's FTS5 and the vectors of `autoglm embed --quantize q8_0`, documents whole.
Printed is nDCG@10: by words with several kinds of terms (those of jieba where that is installed), by vectors, by their
blend at several weights and by reciprocal ranks; then, of XQuAD, which share of questions is still answered where four of
five are refused whose passage was taken away, by how much of the question one of the three best passages covers. Vectors
are kept in --cache. numpy is needed.
"""

import argparse
import json
import math
import pathlib
import re
import sqlite3
import subprocess

import numpy as np

HAN = "\u3400-\u9fff"
FUNCTION_WORDS = set(
    "a about all also an and any are as at be been between but by can could did do does during each for from had has have "
    "he her his how i if in into is it its may me might more most my no not of on only or other our over s she should so "
    "some such t than that the their them then there these they this those through to under up us was we were what when "
    "where which while who whom whose often many much why will with would you your am being".split()
)


def runs(text):
    return re.findall(f"[{HAN}]+|[^\\W{HAN}]+", text)


def characters(text):
    return [c for run in runs(text) for c in (run if re.match(f"[{HAN}]", run) else [run])]


def pairs(text):
    found = []
    for run in runs(text):
        is_han = re.match(f"[{HAN}]", run) and len(run) > 1
        found += [run[i : i + 2] for i in range(len(run) - 1)] if is_han else [run]
    return found


def both(text):
    return characters(text) + pairs(text)


def ndcg(scores, grades):
    """Of a row of scores, with grades by column."""
    ranking = np.argsort(-scores, kind="stable")[:10]
    gain = lambda values: sum(value / math.log2(rank + 2) for rank, value in enumerate(values))
    return gain(grades.get(int(at), 0) for at in ranking) / gain(sorted(grades.values(), reverse=True)[:10])


def by_words(documents, queries, terms):
    """BM25 of every document for every query, 0 where no word is shared."""
    store = sqlite3.connect(":memory:")
    store.execute("CREATE VIRTUAL TABLE t USING fts5(title, body, tokenize='porter unicode61 remove_diacritics 2')")
    join = lambda text: " ".join(terms(text))
    store.executemany("INSERT INTO t VALUES (?, ?)", [(join(title), join(body)) for title, body in documents])
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for row, query in zip(scores, queries):
        match = " OR ".join(f'"{term}"' for term in re.findall(r"[^\W_]+", join(query)))
        for at, score in store.execute("SELECT rowid, bm25(t, 2.0, 1.0) FROM t WHERE t MATCH ?", (match,)):
            row[at - 1] = -score
    return scores


def vectors(args, name, texts):
    path = args.cache / f"{name}.{args.model or 'default'}.npy"
    if not path.exists():
        command = [args.autoglm, "embed", "--input", "-", "--input-format", "jsonl", "--quantize", "q8_0"]
        command += ["--model", args.model] if args.model else []
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        ran = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
        np.save(path, np.array([json.loads(line)["vector"] for line in ran.stdout.splitlines()], dtype=np.float32))
    return np.load(path)


def compare(name, words, meaning, grades):
    mean = lambda scores: np.mean([ndcg(row, grade) for row, grade in zip(scores, grades)])
    print(f"{name}: words {mean(words):.4f}, vectors {mean(meaning):.4f}")
    best = np.maximum(words.max(1, keepdims=True), 1e-9)
    for weight in (0.5, 0.6, 0.7, 0.8):
        print(f"  blend, vectors at {weight}: {mean(weight * meaning + (1 - weight) * words / best):.4f}")
    ranks = lambda scores: (-scores).argsort(1, kind="stable").argsort(1, kind="stable") + 1
    for constant in (20, 60):
        print(f"  reciprocal ranks, {constant}: {mean(1 / (constant + ranks(words)) + 1 / (constant + ranks(meaning))):.4f}")


def stem(word):
    for ending in ("ing", "ed", "es", "s"):
        if len(word) >= len(ending) + 3 and word.endswith(ending):
            word = word[: -len(ending)]
            break
    return word[:5]


def coverage(documents, questions, passages, scores):
    """How much of a question one of three passages covers, with its own passage and without."""
    words = lambda text: {stem(word) for word in pairs(text.lower()) if word not in FUNCTION_WORDS}
    own = [words(body) for _, body in documents]
    weight = lambda word: math.log(1 + len(own) / (sum(word in other for other in own) + 0.5))
    kept, taken = [], []
    for question, passage, row in zip(questions, passages, scores):
        weights = {word: weight(word) for word in words(question)}
        total = sum(weights.values()) or 1
        ranked = np.argsort(-row, kind="stable")[:4]
        cover = lambda at: sum(w for word, w in weights.items() if word in own[at]) / total
        kept.append(max(cover(at) for at in ranked[:3]))
        taken.append(max(cover(at) for at in [at for at in ranked if at != passage][:3]))
    bound = np.quantile(taken, 0.8)
    print(f"  coverage above {bound:.2f} refuses .80 of questions without their passage, answers {np.mean(np.array(kept) > bound):.3f} of the others")


def scifact(args):
    folder = args.data / "scifact"
    lines = lambda name: [json.loads(line) for line in open(folder / name, encoding="utf-8")]
    documents = lines("corpus.jsonl")
    places = {document["id"]: at for at, document in enumerate(documents)}
    grades = {}
    for line in open(folder / "qrels.txt", encoding="utf-8"):
        query, _, document, grade = line.split()
        grades.setdefault(query, {})[places[document]] = int(grade)
    queries = [query for query in lines("queries.jsonl") if query["id"] in grades]
    meaning = vectors(args, "scifact-queries", [q["text"] for q in queries]) @ vectors(
        args, "scifact", [d["title"] + "\n" + d["text"] for d in documents]).T
    words = by_words([(d["title"], d["text"]) for d in documents], [q["text"] for q in queries], both)
    compare("SciFact", words, meaning, [grades[q["id"]] for q in queries])


def xquad(args, language):
    documents, questions, passages = [], [], []
    for article in json.load(open(args.data / f"xquad/xquad.{language}.json", encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions += [asked["question"] for asked in paragraph["qas"]]
            passages += [len(documents)] * len(paragraph["qas"])
            documents.append(("", paragraph["context"]))
    grades = [{passage: 1} for passage in passages]
    kinds = [("characters", characters), ("pairs", pairs), ("both", both)]
    try:
        import jieba
        kinds.append(("jieba", lambda text: list(jieba.cut_for_search(text))))
    except ImportError:
        pass
    for name, terms in kinds if language == "zh" else kinds[2:3]:
        words = by_words(documents, questions, terms)
        print(f"XQuAD {language}, {name}: {np.mean([ndcg(row, g) for row, g in zip(words, grades)]):.4f}")
    words = by_words(documents, questions, both)
    meaning = vectors(args, f"xquad-{language}-questions", questions) @ vectors(
        args, f"xquad-{language}", [body for _, body in documents]).T
    compare(f"XQuAD {language}", words, meaning, grades)
    best = np.maximum(words.max(1, keepdims=True), 1e-9)
    ranked = words if language == "zh" else 0.7 * meaning + 0.3 * words / best
    coverage(documents, questions, passages, ranked)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--cache", default=".", type=pathlib.Path)
    parser.add_argument("--model")
    args = parser.parse_args()
    scifact(args)
    for language in ("en", "zh"):
        xquad(args, language)


if __name__ == "__main__":
    main()
