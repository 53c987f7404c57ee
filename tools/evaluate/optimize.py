"""What `autoglm optimize` brings on the data sets: from a plain instruction and from a bad one, each
compared with its start on test rows that the search has not seen.

    python3 tools/evaluate/optimize.py --home FOLDER [--budget 1000] [--limit 300] [--tasks sst2,trec]

The folder is an AUTOGLM_HOME of its own (its models may be a link to those of another), so that no
strategy of yours goes live or is run by. Data comes from AUTOGLM_DATA, or `../shared/data`. Results are
appended to the file that --results names, one JSON line a search; --table prints all of them.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("AUTOGLM_DATA", ROOT.parent / "shared/data"))
BAD = {"en": "Write a short poem about the sea.", "zh": "写一首关于大海的短诗。"}
BBH_TRAIN_ROWS = 150

# name: (train, test, language, instruction, what a record is called, what the answer is called)
TASKS = {
    "sst2": ("sst2/train", "sst2/test", "en",
             "Tell whether the film review is positive or negative.", "Review", "Sentiment"),
    "trec": ("trec/train", "trec/test", "en",
             "Tell what type of answer the question asks for.", "Question", "Type"),
    "agnews": ("agnews/train", "agnews/test", "en",
               "Tell the topic of the news item.", "News", "Topic"),
    "eprstmt": ("fewclue-eprstmt/train_few_all", "fewclue-eprstmt/test_public", "zh",
                "判断评论的情感倾向是正面还是负面。", "评论", "情感"),
    "tnews": ("fewclue-tnews/train_few_all", "fewclue-tnews/test_public", "zh",
              "判断新闻标题的类别。", "标题", "类别"),
    "boolean_expressions": ("bbh", "bbh", "en",
                            "Evaluate the boolean expression.", "Expression", "Value"),
    "sports_understanding": ("bbh", "bbh", "en",
                             "Tell whether the sentence about sports is plausible.",
                             "Question", "Answer"),
    "date_understanding": ("bbh", "bbh", "en",
                           "Infer the date from the context.", "Question", "Answer"),
    "logical_deduction_three_objects": ("bbh", "bbh", "en",
                                        "Deduce the order of the objects.", "Question", "Answer"),
    "logical_deduction_five_objects": ("bbh", "bbh", "en",
                                       "Deduce the order of the objects.", "Question", "Answer"),
    "tracking_shuffled_objects_three_objects": ("bbh", "bbh", "en",
                                                "Find out who has what in the end.",
                                                "Question", "Answer"),
    "salient_translation_error_detection": ("bbh", "bbh", "en",
                                            "Name the kind of error in the translation.",
                                            "Question", "Answer"),
    "geometric_shapes": ("bbh", "bbh", "en",
                         "Name the shape that the path draws.", "Question", "Answer"),
    "reasoning_about_colored_objects": ("bbh", "bbh", "en",
                                        "Answer the question about the objects.",
                                        "Question", "Answer"),
}


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def parts(name, limit):
    """Rows to search with, and rows to test on: some files have one label after the other, so that
    their first rows would be of few labels."""
    train, test = TASKS[name][:2]
    if train == "bbh":
        found = rows(DATA / f"bbh/{name}.jsonl")
        return found[:BBH_TRAIN_ROWS], found[BBH_TRAIN_ROWS:][:limit]
    test = rows(DATA / f"{test}.jsonl")
    random.Random(0).shuffle(test)
    return rows(DATA / f"{train}.jsonl"), test[:limit]


def task_file(name, start, train, test):
    _, _, language, instruction, title, answer = TASKS[name]
    labels = sorted({str(row.get("label", row.get("answer"))) for row in train + test})
    quoted = lambda text: json.dumps(text, ensure_ascii=False)
    return "\n".join([
        f"name = {quoted(name + '-' + start)}",
        'kind = "classification"',
        f"instruction = {quoted(BAD[language] if start == 'bad' else instruction)}",
        f"labels = [{', '.join(map(quoted, labels))}]",
        f"answer = {quoted(answer)}",
        "[input]",
        f"fields = [{{ name = \"text\", title = {quoted(title)} }}]",
    ])


def autoglm(options, *args):
    command = [options.autoglm, *map(str, args), "--json"]
    home = dict(os.environ, AUTOGLM_HOME=str(options.home))
    done = subprocess.run(command, capture_output=True, text=True, env=home)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def search(options, name, start, seed):
    """One search and its test."""
    train, test = parts(name, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        write = lambda file, text: Path(folder, file).write_text(text, encoding="utf-8")
        lines = lambda rows: "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        write("train.jsonl", lines(train))
        write("test.jsonl", lines(test))
        write("task.toml", task_file(name, start, train, test))
        task, data = Path(folder, "task.toml"), Path(folder, "train.jsonl")
        common = ["optimize", task, "--data", data, "--budget", options.budget, "--seed", seed,
                  "--strategy", "none"]
        estimate = autoglm(options, *common, "--dry-run")
        begun = time.time()
        report = autoglm(options, *common)
        found = report["found"]
        result = {"task": name, "start": start, "seed": seed, "budget": options.budget,
                  "train": len(train), "test": len(test), "seconds": time.time() - begun,
                  "calls": report["spent"]["calls"], "estimated_calls": estimate["calls"],
                  "estimated_tokens": estimate["tokens"],
                  "tokens": report["spent"]["usage"]["prompt_tokens"]
                  + report["spent"]["usage"]["completion_tokens"],
                  "decision": found["decision"] if found else "nothing-found"}
        if found is None:
            quality = autoglm(options, "eval", task, "--data", Path(folder, "test.jsonl"),
                              "--strategy", "none")
            accuracy = quality["quality"]["scores"]["accuracy"]
            return result | {"first": accuracy, "second": accuracy, "interval": [0, 0]}
        compared = autoglm(options, "eval", task, "--data", Path(folder, "test.jsonl"),
                           "--compare", "none", found["version"])
        return result | compared["paired"] | {"changes": found["changes"]}


def print_table(results):
    print("| task | start | calls | tokens (estimated) | decision | test: start | candidate | "
          "difference, 95 % interval | as run |")
    print("|---|---|---|---|---|---|---|---|---|")
    gains = {}
    for r in results:
        difference = r["second"] - r["first"]
        low, high = r["interval"]
        promoted = r["decision"] == "promoted"
        gains.setdefault(r["start"], []).append(difference if promoted else 0.0)
        live = r["second"] if promoted else r["first"]
        print(f"| {r['task']} ({r['test']}) | {r['start']} | {r['calls']} | "
              f"{r['tokens'] // 1000}k ({r['estimated_tokens'] // 1000}k) | {r['decision']} | "
              f"{r['first']:.3f} | {r['second']:.3f} | {difference:+.3f}, {low:+.3f} to {high:+.3f} | "
              f"{live:.3f} |")
    for start, found in gains.items():
        print(f"\n{start}: median gain as run {statistics.median(found):+.3f}, mean "
              f"{statistics.mean(found):+.3f}, least {min(found):+.3f}, over {len(found)} searches")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--autoglm", default=str(ROOT / "target/release/autoglm"))
    parser.add_argument("--home", required=True)
    parser.add_argument("--budget", default="1000")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--starts", default="plain,bad")
    parser.add_argument("--results", default="optimize-results.jsonl")
    parser.add_argument("--table", action="store_true", help="print the results so far and end")
    options = parser.parse_args()
    results = Path(options.results)
    if not options.table:
        for name in options.tasks.split(","):
            for start in options.starts.split(","):
                for seed in options.seeds.split(","):
                    result = search(options, name, start, seed)
                    with results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(result, ensure_ascii=False) + "\n")
    print_table(rows(results))


if __name__ == "__main__":
    main()
