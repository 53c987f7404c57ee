"""What examples chosen for each record bring beside as many drawn by chance.

    AUTOGLM_DATA=FOLDER python tools/evaluate/selection.py --model NAME --task gsm8k --limit 150

The tasks, their rows and the rows that examples come from are those of samples.py. Each way answers the
same records once, with the most likely tokens; examples drawn by chance are drawn by five seeds, so
that their spread is told, too.
"""

import argparse
import json
import statistics
import tempfile

from measuring import add_engine_options, autoglm
from samples import TASKS, files, task_file

WAYS = ("words", "vectors", "both")


def measured(options, task, rows, pool, *extra):
    found = autoglm(options, "eval", task, "--data", rows, "--examples", pool, "--limit", options.limit,
                    "--gold", "answer", "--threads", options.threads, "--json", *extra)
    found = json.loads(found)
    reports = [r["report"] for r in found["reports"]] if "reports" in found else [found]
    return [report["quality"]["same_value"] for report in reports]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--part", choices=("dev", "test"), default="test")
    parser.add_argument("--limit", default="150")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    options = parser.parse_args()
    options.temperature = 0.0
    count = TASKS[options.task][3]
    with tempfile.TemporaryDirectory() as folder:
        rows, pool = files(options, folder)
        task = task_file(options, folder)
        chance = measured(options, task, rows, pool, "--per-label", count, "--seed", options.seeds)
        spread = statistics.stdev(chance) if len(chance) > 1 else 0.0
        print(f"{options.task}, {count} examples: by chance {statistics.mean(chance):.3f} ± {spread:.3f}")
        for way in WAYS:
            found = measured(options, task, rows, pool, "--select", way, "--select-count", count)
            print(f"{options.task}, {count} examples: by {way} {found[0]:.3f}")


if __name__ == "__main__":
    main()
