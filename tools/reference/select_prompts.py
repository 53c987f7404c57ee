r"""Chooses the prompts that greedy.py continues, by what llama.cpp says of the candidates alone.

    python tools/reference/greedy.py --model MODEL.gguf --out ALL.json \
        --prompts tools/reference/candidates_greedy.jsonl
    python tools/reference/select_prompts.py --golden ALL.json --golden ALL-OTHER-MODEL.json

A candidate is eligible where the reference continues it for 50 tokens and its best logit leads the
next by at least --lead at every one of them, under every --golden. From each of the two groups
(English; Chinese, code and others) ten are taken: the surest of each kind in turn, until ten are
there. Prints them, and on standard error the smallest leads.
"""

import argparse
import json
import sys
from itertools import zip_longest
from pathlib import Path

CANDIDATES = Path(__file__).with_name("candidates_greedy.jsonl")
TOKENS, OF_A_GROUP = 50, 10


def smallest_leads(paths):
    """The smallest lead of each prompt over all results; nothing leads where a text ends early."""
    leads = {}
    for path in paths:
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            margins = row["margins"][:TOKENS]
            lead = min(margins) if len(margins) == TOKENS else 0.0
            leads[row["prompt"]] = min(lead, leads.get(row["prompt"], lead))
    return leads


def chosen(candidates, leads, group):
    """The surest of each kind in turn."""
    kinds = {}
    for row in sorted(candidates, key=lambda row: -leads[row["prompt"]]):
        if row["group"] == group:
            kinds.setdefault(row["kind"], []).append(row)
    turns = zip_longest(*kinds.values())
    return [row for turn in turns for row in turn if row][:OF_A_GROUP]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, action="append", required=True)
    parser.add_argument("--candidates", type=Path, default=CANDIDATES)
    parser.add_argument("--lead", type=float, default=0.25)
    options = parser.parse_args()
    lines = options.candidates.read_text(encoding="utf-8").splitlines()
    leads = smallest_leads(options.golden)
    candidates = [row for row in map(json.loads, lines) if leads[row["prompt"]] >= options.lead]
    for group in ["english", "other"]:
        for row in chosen(candidates, leads, group):
            print(json.dumps({"prompt": row["prompt"]}, ensure_ascii=False))
            print(f"{group:8} {row['kind']:10} {leads[row['prompt']]:.2f}", file=sys.stderr)
    print(f"{len(candidates)} of {len(lines)} candidates are eligible", file=sys.stderr)


if __name__ == "__main__":
    main()
