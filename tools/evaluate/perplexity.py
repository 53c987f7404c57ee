"""Perplexity behind long contexts: policies of attention, and types of the cache, beside the first.

    python tools/evaluate/perplexity.py --model NAME [--context 8192] [--policy full --policy gated]
    python tools/evaluate/perplexity.py --model NAME --policy full --cache-type f16 --cache-type q8

Windows of running text, whose beginnings overlap and whose predicted ends do not. Each is read once
with full attention; its end is predicted under each policy. The interval is that of the ratio of
perplexities over samples of the windows.
"""

import argparse
import itertools
import math

from measuring import (add_engine_options, count_tokens, cut, interval, policy, predict,
                       ratio_of_perplexities, running_text)


def windows(options):
    """(prompt, end) pairs of `context` tokens at most; the ends follow one another."""
    text = running_text(options.part)
    begin = cut(options, text, options.context - options.predicted - 2)
    end_characters = int(len(begin) * options.predicted / count_tokens(options, begin))
    places = range(len(begin), len(text) - end_characters, options.stride or end_characters)
    for place in itertools.islice(places, options.windows):
        prompt, end = text[place - len(begin):place], text[place:place + end_characters]
        # Other parts of the text have more tokens a character: the first ones are left out.
        excess = count_tokens(options, prompt + end) + 2 - options.context
        if excess > 0:
            prompt = prompt[8 * excess:]
        yield prompt, end


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--predicted", type=int, default=384, help="tokens at the end of a window")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--stride", type=int, help="characters from one window to the next")
    parser.add_argument("--part", choices=["even", "odd"], default="even")
    parser.add_argument("--policy", action="append")
    parser.add_argument("--cache-type", action="append")
    options = parser.parse_args()
    policies = options.policy or ["full", "gated"]
    lines = [{"prompt": prompt, "continuations": [end], "attention": list(map(policy, policies))}
             for prompt, end in windows(options)]
    columns = {}
    for cache_type in options.cache_type or ["f16"]:
        found = predict(options, lines, "--cache-type", cache_type)
        for index, words in enumerate(policies):
            losses = [(line[index][0], tokens[0]) for line, tokens in found]
            columns[f"{words} {cache_type}"] = losses
    reference = next(iter(columns.values()))
    tokens = sum(count for _, count in reference)
    print(f"{options.model}: {len(reference)} windows, {tokens} predicted tokens, "
          f"part {options.part}")
    for title, losses in columns.items():
        pairs = [(loss, other, count) for (loss, count), (other, _) in zip(losses, reference)]
        low, high = interval(pairs, ratio_of_perplexities)
        value = math.exp(sum(loss for loss, _ in losses) / tokens)
        print(f"{title:60} {value:9.4f}  ratio {ratio_of_perplexities(pairs):.4f} "
              f"({low:.4f} to {high:.4f})", flush=True)


if __name__ == "__main__":
    main()
