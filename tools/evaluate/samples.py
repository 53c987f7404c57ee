"""What voting over samples brings, and what stopping early saves.

    AUTOGLM_DATA=FOLDER python tools/evaluate/samples.py --model NAME --task gsm8k --limit 150

Each seed draws other examples for the prompt and takes ten samples of every record; all rules of
stopping are then compared on these same samples, in five orders. A BIG-Bench-Hard task is split: its
first 50 rows are for choosing settings and for examples (`--part dev` measures on the first 50 with
examples from behind them), the others for evaluation. GSM8K has a training file, whose last 1,000
rows are for choosing. Printed are the means over the seeds, and the standard deviation where there
are several.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from measuring import add_engine_options, autoglm

# The prompt's words, the name of the answer, tokens of an answer at most, examples.
TASKS = {
    "gsm8k": ("Solve the problem step by step. End with #### and the number.", "Solution", 160, 4),
    "object_counting": ("Count the things that are asked for.", "Answer", 8, 4),
    "boolean_expressions": ("Evaluate the boolean expression.", "Answer", 6, 4),
    "date_understanding": ("Work out the date and choose the option.", "Answer", 6, 3),
    "tracking_shuffled_objects_three_objects": ("Follow the swaps and choose the option.", "Answer", 6, 3),
    "sports_understanding": ("Tell whether the sentence is plausible.", "Answer", 6, 4),
    "reasoning_about_colored_objects": ("Answer the question and choose the option.", "Answer", 6, 3),
}


def files(options, folder):
    """The rows to measure on and those that examples are drawn from."""
    data = Path(os.environ["AUTOGLM_DATA"])
    if options.task == "gsm8k":
        train = (data / "gsm8k/train.jsonl").read_text().splitlines()
        test = (data / "gsm8k/test.jsonl").read_text().splitlines()
        rows, pool = (train[-1000:], train[:-1000]) if options.part == "dev" else (test, train[:-1000])
    else:
        lines = (data / f"bbh/{options.task}.jsonl").read_text().splitlines()
        rows, pool = (lines[:50], lines[50:]) if options.part == "dev" else (lines[50:], lines[:50])
    paths = Path(folder) / "rows.jsonl", Path(folder) / "pool.jsonl"
    for path, content in zip(paths, (rows, pool)):
        path.write_text("\n".join(content) + "\n")
    return paths


def task_file(options, folder):
    instruction, answer, max_tokens, _ = TASKS[options.task]
    field, title = ("question", "Problem") if options.task == "gsm8k" else ("text", "Question")
    path = Path(folder) / "task.toml"
    path.write_text(f"""instruction = "{instruction}"
kind = "question-answering"
language = "en"
answer = "{answer}"
[input]
fields = [{{ name = "{field}", title = "{title}" }}]
[output]
form = "text"
max_tokens = {max_tokens}
[decoding]
stop = ["\\n\\n", "{title}:"]
temperature = {options.temperature}
seed = 1
""")
    return path


def reports(options):
    with tempfile.TemporaryDirectory() as folder:
        rows, pool = files(options, folder)
        task = task_file(options, folder)
        for seed in options.seeds.split(","):
            found = autoglm(options, "eval", task, "--data", rows, "--examples", pool, "--per-label",
                            TASKS[options.task][3], "--seed", seed, "--limit", options.limit, "--json",
                            "--samples", options.samples, "--fixed-samples", "--gold", "answer",
                            "--threads", options.threads)
            yield json.loads(found)


def told(values, digits):
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--part", choices=["dev", "test"], default="test")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    options = parser.parse_args()
    found = list(reports(options))
    qualities = [report["quality"] for report in found]
    samples = [quality["samples"] for quality in qualities]
    print(f"{options.task} ({options.part}), {found[0]['rows']} rows, {options.model}, "
          f"{options.samples} samples, {len(found)} seeds, {sum(r['seconds'] for r in found):.0f} s")
    print(f"the first alone: {told([100 * s['first_accuracy'] for s in samples], 1)} % right")
    fixed = [s["rules"][0] for s in samples]
    for place in range(len(samples[0]["rules"])):
        rules = [s["rules"][place] for s in samples]
        saved = [100 * (1 - r["mean_samples"] / options.samples) for r in rules]
        lost = [100 * (r["accuracy"] - f["accuracy"]) for r, f in zip(rules, fixed)]
        print(f"{rules[0]['rule']}: {told([100 * r['accuracy'] for r in rules], 1)} % right "
              f"(± {statistics.mean(100 * r['accuracy_deviation'] for r in rules):.1f} over orders), "
              f"{told([r['mean_samples'] for r in rules], 2)} samples, {told(saved, 0)} % saved, "
              f"{told(lost, 2)} points beside all samples")
    risks = [[100 * point["error"] for point in report["confidence"]["risks"]] for report in found]
    for point, errors in zip(found[0]["confidence"]["risks"], zip(*risks)):
        print(f"error of the surest {100 * point['coverage']:.0f} %: {told(list(errors), 1)} %")
    for name in ["calibration_error", "fitted_calibration_error", "aurc"]:
        values = [report["confidence"][name] for report in found]
        if None not in values:
            print(f"{name}: {told(values, 3)}")


if __name__ == "__main__":
    main()
