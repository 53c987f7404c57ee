"""Writes the prompts of a stored run, for score_speed.py.

    autoglm eval TASK --data F.jsonl ...
    python tools/reference/dump_prompts.py --autoglm BINARY --run ID --data F.jsonl \\
        --option ' negative' --option ' positive' --out PROMPTS.jsonl

Asks the binary for the prompt of the run's first record, puts the text of every record of F.jsonl
in the place of the first one's, and compares the last one with what the binary says about it.
"""

import argparse
import json
import subprocess


def prompt_of(options, record):
    """The prompt of a stored record, and the record's text."""
    command = [options.autoglm, "runs", "show", options.run, "--record", str(record), "--json"]
    shown = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return shown["prompt"]["Plain"], shown["row"]["input"][options.field]


def one_line(text):
    """White space as the prompt's composer writes it."""
    return " ".join(text.split())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--field", default="text")
    parser.add_argument("--option", action="append", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as file:
        texts = [one_line(json.loads(line)[options.field]) for line in file]
    first, text = prompt_of(options, 0)
    before, after = first.rsplit(one_line(text), 1)
    prompts = [before + text + after for text in texts]
    if prompts[-1] != prompt_of(options, len(texts) - 1)[0]:
        raise SystemExit("the prompts of this run are not made from this file and field")
    with open(options.out, "w", encoding="utf-8") as file:
        for prompt in prompts:
            row = {"prompt": prompt, "options": options.option}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
