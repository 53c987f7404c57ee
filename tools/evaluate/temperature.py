"""Adaptive temperature beside fixed ones: closed answers that are right, and variety of open ones.

    python tools/evaluate/temperature.py --model NAME [--seeds 8]

Closed: short questions, each answered with several seeds; an answer is right where it contains what is
wanted. Open: beginnings of stories, continued with several seeds; variety is the share of distinct
pairs of words among all pairs of the continuations of one beginning (distinct-2). A setting is better
where it has more of one for the same of the other.
"""

import argparse
import json
import statistics

from measuring import add_engine_options, autoglm, interval

CLOSED = [
    ("What is the capital of France?", "Paris"), ("What is the capital of Italy?", "Rome"),
    ("What is the capital of Japan?", "Tokyo"), ("What is the capital of Germany?", "Berlin"),
    ("How many days has a week?", "7 seven"), ("How many legs does a spider have?", "8 eight"),
    ("Which planet do we live on?", "Earth"), ("What is 2 + 3?", "5 five"),
    ("What colour is the sky on a clear day?", "blue"), ("What is frozen water called?", "ice"),
    ("Who wrote Romeo and Juliet?", "Shakespeare"), ("What do bees make?", "honey"),
]
OPEN = [
    "Write a short story about a lighthouse.", "Write a short story about a lost key.",
    "Describe a market in the morning.", "Invent a new animal and describe it.",
]


def answers(options, prompt, setting, max_tokens):
    for seed in range(options.seeds):
        found = autoglm(options, "generate", "--json", "--max-tokens", max_tokens, "--seed", seed,
                        "--threads", options.threads, "--prompt", prompt, *setting.split())
        yield json.loads(found)["text"]


def right(text, wanted):
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return any(word.lower() in words for word in wanted.split())


def distinct_pairs(texts):
    pairs = [pair for words in map(str.split, texts) for pair in zip(words, words[1:])]
    return len(set(pairs)) / max(len(pairs), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--setting", action="append")
    options = parser.parse_args()
    settings = options.setting or [
        "--temperature 0.6", "--temperature 0.8", "--temperature 1.0", "--temperature 1.3",
        "--temperature 1.0 --temperature-floor 0.2", "--temperature 1.3 --temperature-floor 0.2",
    ]
    for setting in settings:
        shares = [statistics.mean(right(text, wanted)
                                  for text in answers(options, prompt, setting, 24))
                  for prompt, wanted in CLOSED]
        variety = [distinct_pairs(list(answers(options, prompt, setting, 64))) for prompt in OPEN]
        low, high = interval(shares, statistics.mean)
        print(f"{setting:46} right {statistics.mean(shares):.3f} ({low:.3f} to {high:.3f})  "
              f"distinct-2 {statistics.mean(variety):.3f} ({min(variety):.3f} to "
              f"{max(variety):.3f})", flush=True)


if __name__ == "__main__":
    main()
