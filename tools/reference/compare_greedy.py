"""Compares greedy continuations of `autoglm generate` with those that greedy.py wrote.

    python tools/reference/compare_greedy.py --autoglm BINARY --model MODEL.gguf --golden GOLDEN.json

Two continuations agree where the first 50 tokens of the reference, as text, begin ours (all of
them where there are fewer). Where they part, the line says how far the reference's best logit
stood before the next one: engines that round differently part at small leads. Ends with status 1
when fewer than --wanted prompts agree.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def generate(options, prompt):
    """Our continuation of a prompt."""
    command = [options.autoglm, "generate", "--model", options.model, "--prompt", prompt,
               "--max-tokens", "64", "--temperature", "0", "--raw", "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def common_length(a, b):
    """Characters that two texts share at the start."""
    pairs = zip(a, b)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--wanted", type=int, default=18)
    options = parser.parse_args()
    rows = json.loads(options.golden.read_text(encoding="utf-8"))["rows"]
    agreeing = 0
    for row in rows:
        text, wanted = generate(options, row["prompt"])["text"], row["first_50"]
        shared = common_length(text, wanted)
        agreeing += shared == len(wanted)
        if shared < len(wanted):
            lead = min(row["margins"][:50])
            print(f"parts after {shared} of {len(wanted)} characters (smallest lead of a logit "
                  f"{lead}): {row['prompt'][:50]!r}")
    print(f"{agreeing} of {len(rows)} prompts agree in the first 50 tokens")
    sys.exit(agreeing < options.wanted)


if __name__ == "__main__":
    main()
