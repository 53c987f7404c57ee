"""What labelled rows bring, part by part: the taught judge beside a bag of words, zero-shot and few-shot prompts.

    pip install scikit-learn
    python tools/evaluate/teaching.py --autoglm target/release/autoglm --results FILE.jsonl [--only sst2-16,trec-10]

Test rows are used for nothing else, and all ways answer the same ones. Rows that teach are drawn with the seeds
1 to 5, for the parts 1 to 3, as `autoglm eval` draws them (docs/evaluation.md), the same for all ways of a seed. Results are appended to
FILE as they come, and what stands there is not measured again. Runs go to a temporary folder; --models is the
folder with the default models.

    words       naive Bayes on words and pairs of words (Chinese: one to three characters) of the rows
    zero        no rows; raw label scores, and calibrated by the batch
    few         rows drawn into one prompt, 16 examples at most or one of each label; raw, and calibrated by the batch
    chosen      four rows chosen for each record by shared words
    taught      the judge
    -V, +V      the judge without a view, and with anchors besides
    corrected   no examples; the rows as feedback on the model's own answers
"""

import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get("AUTOGLM_DATA", ROOT.parent / "shared/data"))
SEEDS = (1, 2, 3, 4, 5)
SEEDS_OF_PARTS = (1, 2, 3)
SHOWN = 16
VIEWS = ("scores", "states", "vectors")

TASKS = {
    "sst2": "Classify the sentiment of the movie review as positive or negative.",
    "trec": "Classify the question by the type of its answer: abbreviation, entity, description, person, "
            "location or number.",
    "agnews": "Classify the news article as World, Sports, Business or Technology.",
    "banking77": None,
    "fewclue-eprstmt": "判断以下评论的情感倾向是正面还是负面。",
    "fewclue-tnews": None,
}
# name: (data set, file of rows that teach, rows of a label (None: all), test file, test rows at most)
SETTINGS = {
    "sst2-16": ("sst2", "train", 16, "test", None),
    "sst2-500": ("sst2", "train", 500, "test", None),
    "trec-10": ("trec", "train", 10, "test", None),
    "trec-all": ("trec", "train", None, "test", None),
    "agnews-3": ("agnews", "train", 3, "test", 2000),
    "agnews-all": ("agnews", "train", None, "test", 2000),
    "banking77-10": ("banking77", "train", 10, "test", None),
    "banking77-all": ("banking77", "train", None, "test", None),
    "eprstmt-all": ("fewclue-eprstmt", "train_0", None, "test_public", None),
    "tnews-all": ("fewclue-tnews", "train_0", None, "test_public", None),
}


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def drawn(rows, held_out, per_label, seed):
    """The rows that `autoglm eval --per-label --seed` draws."""
    texts = {row["text"] for row in held_out}
    tickets = {}
    for row in rows:
        if row["text"] not in texts:
            field = json.dumps({"text": row["text"]}, ensure_ascii=False, separators=(",", ":"))
            tickets[row["text"]] = (hashlib.sha256(f"{seed}\n{field}".encode()).digest(), row)
    taken, counts = [], {}
    for _, row in sorted(tickets.values(), key=lambda entry: entry[0]):
        counts[row["label"]] = counts.get(row["label"], 0) + 1
        if per_label is None or counts[row["label"]] <= per_label:
            taken.append(row)
    return taken


class Desk:
    """One setting with its files, and the program in a folder of its own."""

    def __init__(self, options, name, folder):
        data, train, self.per_label, test, limit = SETTINGS[name]
        self.options, self.folder = options, folder
        self.home = self.new_home("home")
        self.pool = rows_of(DATA / data / f"{train}.jsonl")
        self.test = rows_of(DATA / data / f"{test}.jsonl")[:limit]
        self.labels = sorted({row["label"] for row in self.pool})
        self.is_chinese = data.startswith("fewclue")
        write_rows(folder / "pool.jsonl", self.pool)
        write_rows(folder / "test.jsonl", self.test)
        self.task = TASKS[data] or self.task_file(data)

    def task_file(self, data):
        quoted = lambda text: json.dumps(text, ensure_ascii=False)
        instruction, title, answer = {
            "banking77": ("Tell the intent of the customer's message.", "Message", "Intent"),
            "fewclue-tnews": ("判断新闻标题的类别。", "标题", "类别"),
        }[data]
        path = self.folder / "task.toml"
        path.write_text("\n".join([
            f'name = "{data}"', 'kind = "classification"', f"instruction = {quoted(instruction)}",
            f"labels = [{', '.join(map(quoted, self.labels))}]", f"answer = {quoted(answer)}",
            "[input]", f'fields = [{{ name = "text", title = {quoted(title)} }}]',
        ]), encoding="utf-8")
        return str(path)

    def new_home(self, name):
        """An empty folder for runs and feedback, with the default models."""
        home = self.folder / name
        home.mkdir()
        (home / "models").symlink_to(self.options.models.resolve())
        return home

    def autoglm(self, *words):
        environment = {"AUTOGLM_HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        ran = subprocess.run([self.options.autoglm, *words], capture_output=True, text=True, env=environment)
        if ran.returncode:
            raise SystemExit(f"{words}\n{ran.stderr}")
        return ran.stdout

    def evaluate(self, *words):
        report = json.loads(self.autoglm("eval", self.task, "--data", str(self.folder / "test.jsonl"), "--json", *words))
        quality, risks = report["quality"], report["confidence"]["risks"]
        error = {risk["coverage"]: risk["error"] for risk in risks}
        return {"accuracy": quality["scores"]["accuracy"], "ece": quality["scores"]["calibration_error"],
                "raw": (quality.get("uncalibrated") or quality["scores"])["accuracy"],
                "error": error[1.0], "error_at_80": error[0.8]}

    def examples(self, seed, per_label, *words):
        count = [] if per_label is None else ["--per-label", str(per_label)]
        return self.evaluate("--examples", str(self.folder / "pool.jsonl"), "--seed", str(seed), *count, *words)

    def words(self, seed):
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.naive_bayes import MultinomialNB
        rows = drawn(self.pool, self.test, self.per_label, seed)
        counter = CountVectorizer(analyzer="char", ngram_range=(1, 3)) if self.is_chinese else CountVectorizer(
            ngram_range=(1, 2))
        model = MultinomialNB().fit(counter.fit_transform(r["text"] for r in rows), [r["label"] for r in rows])
        found = model.predict(counter.transform(r["text"] for r in self.test))
        return {"accuracy": statistics.mean(a == r["label"] for a, r in zip(found, self.test))}

    def corrected(self, seed):
        """The labels of the rows as feedback on answers that were given without any example."""
        rows = drawn(self.pool, self.test, self.per_label, seed)
        self.home = self.new_home(f"corrected-{seed}")
        asked, told = self.home / "asked.jsonl", self.home / "told.jsonl"
        write_rows(asked, rows)
        write_rows(told, ({"run": 1, "record": i, "correct": row["label"]} for i, row in enumerate(rows)))
        self.autoglm("run", self.task, "-i", str(asked), "-o", str(self.home / "answers.jsonl"))
        self.autoglm("feedback", self.task, "--file", str(told))
        return self.evaluate("--untaught")

    def measure(self, way, seed):
        if way == "words":
            return self.words(seed)
        if way == "zero":
            return self.evaluate("--untaught", "--no-feedback")
        if way == "corrected":
            return self.corrected(seed)
        if way == "few":
            shown = max(1, SHOWN // len(self.labels))
            per_label = shown if self.per_label is None else min(shown, self.per_label)
            return self.examples(seed, per_label, "--no-feedback")
        if way == "chosen":
            return self.examples(seed, self.per_label, "--select", "words", "--no-feedback")
        views = list(VIEWS)
        if way[0] == "-":
            views.remove(way[1:])
        if way[0] == "+":
            views.append(way[1:])
        return self.examples(seed, self.per_label, "--fit", "--views", ",".join(views), "--no-feedback")

    def work(self):
        """The ways to measure, each with its seeds."""
        parts = ["-states"]
        if len(self.labels) <= 20:
            parts += ["-scores", "chosen", "+anchors"]
        if not self.is_chinese:
            parts.append("-vectors")
        once = SEEDS[:1]
        is_drawn = self.per_label is not None
        yield from (("words", SEEDS if is_drawn else once), ("zero", once), ("few", SEEDS))
        yield "taught", SEEDS if is_drawn else once
        for part in [*parts, "corrected"]:
            yield part, SEEDS_OF_PARTS if is_drawn else once


def print_tables(results):
    of = lambda name, way, what: [r[what] for r in results if (r["setting"], r["way"]) == (name, way) and what in r]
    shown = lambda values: "–" if not values else (
        f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""))
    columns = [("words", "accuracy"), ("zero", "raw"), ("zero", "accuracy"), ("few", "raw"), ("few", "accuracy"),
               ("taught", "accuracy"), ("taught", "ece"), ("taught", "error"), ("taught", "error_at_80")]
    parts = ["taught", "-scores", "-states", "-vectors", "+anchors", "chosen", "corrected"]
    names = [name for name in SETTINGS if of(name, "taught", "accuracy")]
    print("| rows | " + " | ".join(f"{way}: {what}" for way, what in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(shown(of(name, way, what)) for way, what in columns) + " |")
    print("\n| rows | " + " | ".join(parts) + " |\n" + "|---" * (len(parts) + 1) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(shown(of(name, way, "accuracy")) for way in parts) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", default=str(ROOT / "target/release/autoglm"))
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".local/share/autoglm/models")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--table", action="store_true", help="print the results so far and end")
    options = parser.parse_args()
    results = rows_of(options.results) if options.results.exists() else []
    known = {(r["setting"], r["way"], r["seed"]) for r in results}
    for name in [] if options.table else options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(options, name, pathlib.Path(folder))
            for way, seeds in desk.work():
                for seed in seeds:
                    if (name, way, seed) in known:
                        continue
                    result = {"setting": name, "way": way, "seed": seed} | desk.measure(way, seed)
                    results.append(result)
                    with options.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
                    print(json.dumps(result), flush=True)
    print_tables(results)


if __name__ == "__main__":
    main()
