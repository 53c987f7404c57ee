"""Compares greedy continuations with those that greedy.py wrote.

    python tools/reference/compare_greedy.py --golden GOLDEN.json --autoglm BINARY --model MODEL.gguf
    python tools/reference/compare_greedy.py --golden GOLDEN.json --other OTHER.json

The first form continues the prompts with `autoglm generate` (--out keeps the result), the second
takes another result, of greedy.py or of the first form. Two continuations agree where their first
50 tokens are the same. For those that part, a line says how far the reference's best logit stood
before the next one: engines that round differently part at small leads. The last line gives the
mean difference of the log-probabilities of the tokens that both chose, up to where they part.
Ends with status 1 when fewer than --wanted prompts agree.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

COMPARED = 50


def generate(options, prompt):
    """Our continuation of a prompt."""
    command = [options.autoglm, "generate", "--model", options.model, f"--prompt={prompt}",
               "--max-tokens", str(COMPARED), "--temperature", "0", "--raw", "--json"]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {"prompt": prompt, "tokens": answer["tokens"], "logprobs": answer["logprobs"]}


def other_rows(options, prompts):
    """The continuations to compare, by prompt."""
    if options.other:
        rows = json.loads(options.other.read_text(encoding="utf-8"))["rows"]
    else:
        rows = [generate(options, prompt) for prompt in prompts]
    if options.out:
        text = json.dumps({"rows": rows}, ensure_ascii=False, indent=1) + "\n"
        options.out.write_text(text, encoding="utf-8")
    return {row["prompt"]: row for row in rows}


def common_length(a, b):
    """Tokens that two continuations share at the start."""
    pairs = zip(a, b)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def compare(wanted, row):
    """Whether two continuations agree, and the differences of their log-probabilities."""
    tokens = wanted["tokens"][:COMPARED]
    shared = common_length(tokens, row["tokens"][:COMPARED])
    if shared < len(tokens):
        margins = wanted["margins"]
        print(f"parts after {shared} tokens, where the lead was {margins[shared]} (smallest "
              f"{min(margins[:COMPARED])}): {wanted['prompt'][:50]!r}")
    pairs = zip(wanted["logprobs"][:shared], row["logprobs"])
    return shared == len(tokens), [abs(x - y) for x, y in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--autoglm")
    parser.add_argument("--model")
    parser.add_argument("--other", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--wanted", type=int, default=18)
    options = parser.parse_args()
    if not options.other and not (options.autoglm and options.model):
        parser.error("give --autoglm and --model, or --other")
    golden = json.loads(options.golden.read_text(encoding="utf-8"))["rows"]
    others = other_rows(options, [row["prompt"] for row in golden])
    results = [compare(row, others[row["prompt"]]) for row in golden]
    agreeing = sum(agree for agree, _ in results)
    differences = [x for _, some in results for x in some]
    print(f"{agreeing} of {len(golden)} prompts agree in the first {COMPARED} tokens; mean "
          f"difference of log p {sum(differences) / len(differences):.4f} over "
          f"{len(differences)} tokens")
    sys.exit(agreeing < options.wanted)


if __name__ == "__main__":
    main()
