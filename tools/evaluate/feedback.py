"""What corrections bring: test-before-train accuracy of the rows behind the first fifty, with and without feedback.

    python tools/evaluate/feedback.py --autoglm target/release/autoglm --task TASK.toml --data LABELLED.jsonl [--seeds 5]

LABELLED.jsonl has records with `label`. All are answered once without feedback. Then, for each seed, 250 of them are
given as feedback in a random order, vectors of them are made by a run over one record, and the curve that
`autoglm feedback` tells is summed over rows 51 to 250: each row was answered before its label was told, by the model
alone and by the model with what was told before. Runs and feedback go to a temporary folder; --models is the folder
with the default models, `models` in the data folder.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile

FIRST, NEXT = 50, 200


class Desk:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        (folder / "models").symlink_to(args.models.resolve())

    def autoglm(self, *words):
        ran = subprocess.run([self.args.autoglm, *words], capture_output=True, text=True,
                             env={"AUTOGLM_HOME": str(self.folder), "PATH": "/usr/bin:/bin"})
        if ran.returncode:
            raise SystemExit(ran.stderr)
        return ran.stdout

    def answer(self, data, output, *words):
        model = ["--model", self.args.model] if self.args.model else []
        self.autoglm("run", self.args.task, "-i", data, "-o", str(self.folder / output), *model, *words)


def measure(desk, labels, seed):
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    told = desk.folder / "told.jsonl"
    lines = ({"run": 1, "record": place, "correct": labels[place]} for place in order[:FIRST + NEXT])
    told.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    desk.autoglm("feedback", desk.args.task, "--file", str(told))
    desk.answer(desk.args.data, "one.jsonl", "--limit", "1")
    report = json.loads(desk.autoglm("feedback", desk.args.task, "--json"))
    desk.autoglm("feedback", desk.args.task, "withdraw", "--batch", str(seed + 1))
    stretches = report["curve"][FIRST // 10:]
    total = {name: sum(stretch[name] for stretch in stretches) for name in ("rows", "right", "right_before")}
    return total["right_before"] / total["rows"], total["right"] / total["rows"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".local/share/autoglm/models")
    parser.add_argument("--model")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    with open(args.data, encoding="utf-8") as data:
        labels = [json.loads(line)["label"] for line in data]
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(args, pathlib.Path(folder))
        desk.answer(args.data, "all.jsonl")
        pairs = [measure(desk, labels, seed) for seed in range(args.seeds)]
    for name, values in zip(("without feedback", "with feedback"), zip(*pairs)):
        print(f"{name:17} {statistics.mean(values):.3f} (seeds {', '.join(f'{v:.3f}' for v in values)})")
    gains = [after - before for before, after in pairs]
    print(f"{'gain':17} {statistics.mean(gains):+.3f} (from {min(gains):+.3f} to {max(gains):+.3f})")


if __name__ == "__main__":
    main()
