"""Prompt lookup: how much sooner answers come, and that they are the same, by kind of work.

    python tools/evaluate/lookup.py --model NAME [--kind edit] [--lookup-tokens 7 --lookup-tokens 16] [--rounds 1]

Each prompt of `lookup_prompts.jsonl` is answered greedily with the model's chat template, without
and with lookup in turns, and once for a single token: the time for that is the prompt's and is
taken off both. Passes are counted by the engine. Answers that differ end the script.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from measuring import add_engine_options, autoglm, interval

HERE = Path(__file__).parent


def answer(options, prompt, lookup, max_tokens):
    """Tokens, seconds and passes of one answer."""
    found = autoglm(options, "generate", "--json", "--max-tokens", max_tokens,
                    "--lookup-tokens", lookup, "--threads", options.threads, "--prompt", prompt)
    found = json.loads(found)
    compute = found["usage"]["compute"]
    return found, compute["secs"] + compute["nanos"] * 1e-9


def measure(options, prompt):
    """For each number of tokens looked up: the ratios of passes, and of seconds behind the prompt."""
    rounds = []
    for _ in range(options.rounds):
        without, slow = answer(options, prompt, 0, options.max_tokens)
        one, first = answer(options, prompt, 0, 1)
        found = {}
        for limit in options.lookup_tokens:
            with_lookup, fast = answer(options, prompt, limit, options.max_tokens)
            if with_lookup["tokens"] != without["tokens"]:
                raise SystemExit(f"the answers differ for {prompt!r}")
            found[limit] = with_lookup, (slow - first) / max(fast - first, 1e-9)
        rounds.append(found)
    measured = {}
    for limit, (found, _) in rounds[0].items():
        measured[limit] = {
            "tokens": len(found["tokens"]),
            "passes": [answer["passes"] - one["passes"] for answer in (without, found)],
            "ratio": statistics.median(found[limit][1] for found in rounds),
            "proposed": found["proposed_tokens"], "accepted": found["accepted_tokens"],
            "text": found["text"],
        }
    return measured


def geometric_mean(values):
    return math.exp(statistics.mean(map(math.log, values)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--lookup-tokens", type=int, action="append")
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--texts", action="store_true", help="print the answers")
    options = parser.parse_args()
    options.lookup_tokens = options.lookup_tokens or [7]
    lines = (HERE / "lookup_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    by_kind = {}
    for line in map(json.loads, lines):
        if options.kind and line["kind"] not in options.kind:
            continue
        for limit, found in measure(options, line["prompt"]).items():
            by_kind.setdefault((line["kind"], limit), []).append(found)
        if options.texts:
            print(json.dumps(line["prompt"], ensure_ascii=False))
            print(found["text"], flush=True)
    for (kind, limit), found in by_kind.items():
        report(f"{kind}, {limit} tokens", found)


def report(kind, found):
    found = [answer for answer in found if answer["passes"][0] > 8]
    ratios = [answer["ratio"] for answer in found]
    tokens, passes, fewer, proposed, accepted = (
        sum(parts) for parts in zip(*((a["tokens"], *a["passes"], a["proposed"], a["accepted"])
                                      for a in found)))
    low, high = interval(ratios, geometric_mean)
    print(f"{kind}: {len(found)} answers of more than 8 passes, {tokens} tokens, the same; "
          f"{geometric_mean(ratios):.2f} x as fast ({low:.2f} to {high:.2f}; single answers "
          f"{min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}); "
          f"passes {passes} to {fewer} ({passes / fewer:.2f} x); accepted {accepted} of {proposed}")


if __name__ == "__main__":
    main()
