"""What examples chosen for each record bring beside as many drawn by chance, on tasks with open answers.

    AUTOGLM_DATA=FOLDER python tools/evaluate/selection.py --model NAME --results FOLDER

The tasks, their rows and the rows that examples come from are those of samples.py. Each way answers the
same records once, with the most likely tokens; examples drawn by chance are drawn by several seeds, and a
record's value by chance is the mean over them. Differences are of the same records, with the 95 % interval of
the paired bootstrap, for each task and over all records. A way is worth being the default where that
interval is above 0 over all records and no task is surely worse by it.

Each answered file is kept in --results; the same command goes on where it was stopped.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
from pathlib import Path

from measuring import add_engine_options, autoglm, interval
from samples import TASKS, files, task_file

DEFAULT_TASKS = ("object_counting", "boolean_expressions", "date_understanding", "sports_understanding",
                 "tracking_shuffled_objects_three_objects", "reasoning_about_colored_objects")


def value(task, text):
    """An answer as it is compared: the number of GSM8K, else the words without case and full stop."""
    if task == "gsm8k":
        behind = str(text).rsplit("####", 1)[-1]
        numbers = re.findall(r"-?\d[\d,]*\.?\d*", behind)
        return float(numbers[0].replace(",", "").rstrip(".")) if numbers else None
    return str(text).strip().rstrip(".").casefold()


def right(options, name, way, *extra):
    """1 for each record that is answered rightly, else 0; measured where it is not kept."""
    kept = options.results / f"{options.model}-{name}-{options.part}-{options.limit}-{way}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            options.task = name
            rows, pool = files(options, folder)
            out = Path(folder) / "out.jsonl"
            autoglm(options, "eval", task_file(options, folder), "--data", rows, "--examples", pool, "--limit",
                    options.limit, "--gold", "answer", "--threads", options.threads, "--output", out, *extra)
            read = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
            pairs = list(zip(read(rows), read(out)))
            found = [int(value(name, told.get("answer", "")) == value(name, row["answer"]))
                     for row, told in pairs]
        kept.write_text(json.dumps(found))
    return json.loads(kept.read_text())


def measured(options, name):
    """For each way one value a record."""
    count = TASKS[name][3]
    drawn = [right(options, name, f"chance{seed}", "--per-label", count, "--seed", seed)
             for seed in options.seeds]
    found = {"chance": [statistics.mean(values) for values in zip(*drawn)]}
    for way in options.ways:
        found[way] = right(options, name, way, "--select", way, "--select-count", count)
    spread = statistics.stdev(map(statistics.mean, drawn)) if len(drawn) > 1 else 0.0
    print(f"{name} ({len(found['chance'])} records), {count} examples: by chance "
          f"{statistics.mean(found['chance']):.3f} ± {spread:.3f}", flush=True)
    return found


def difference(first, second):
    found = [b - a for a, b in zip(first, second, strict=True)]
    low, high = interval(found, statistics.fmean)
    return statistics.fmean(found), low, high


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    add_engine_options(parser)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--tasks", type=words, default=list(DEFAULT_TASKS))
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--limit", default="200")
    parser.add_argument("--seeds", type=words, default=["1", "2", "3"])
    parser.add_argument("--ways", type=words, default=["words", "vectors"])
    options = parser.parse_args()
    options.temperature = 0.0
    options.results.mkdir(parents=True, exist_ok=True)
    os.environ["AUTOGLM_DATA"]  # said at once where it is missing
    every = {way: [] for way in ("chance", *options.ways)}
    worse = dict.fromkeys(options.ways, 0)
    for name in options.tasks:
        found = measured(options, name)
        for way, values in found.items():
            every[way] += values
        for way in options.ways:
            gain, low, high = difference(found["chance"], found[way])
            worse[way] += high < 0
            print(f"  by {way} {statistics.mean(found[way]):.3f}: {gain:+.3f}, {low:+.3f} to {high:+.3f}",
                  flush=True)
    for way in options.ways:
        gain, low, high = difference(every["chance"], every[way])
        is_worth = low > 0 and worse[way] == 0
        print(f"over {len(every[way])} records by {way}: {gain:+.3f}, {low:+.3f} to {high:+.3f}; surely worse on "
              f"{worse[way]} of {len(options.tasks)} tasks: {'worth' if is_worth else 'not worth'} being the default")


if __name__ == "__main__":
    main()
