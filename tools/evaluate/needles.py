"""Facts in a long text, and whether a model finds them: policies of attention beside the first.

    python tools/evaluate/needles.py --model NAME [--context 8192] [--trials 8] [--policy full …]

Each text is running text with twelve lines `The secret number of CITY is NNNN.` at even depths. After
it, `The secret number of CITY is` is asked for each city, and the numbers of all cities are scored
as what follows: the question and the answer are under the policy, the text before was read in full.
A choice is right where the city's own number is the likeliest; chance is 1 in 12. Paired between
policies: how many each alone finds, the sign test's p, and the loss of the right answer a token.
"""

import argparse
import math
import random

from measuring import add_engine_options, count_tokens, cut, interval, policy, predict, running_text

CITIES = ["Paris", "London", "Rome", "Berlin", "Madrid", "Tokyo", "Moscow", "Cairo", "Delhi",
          "Sydney", "Toronto", "Boston", "Chicago", "Dublin", "Vienna", "Athens"]
NEEDLES = 12


def sentence(city):
    return f"The secret number of {city} is"


def trial(options, filler, number):
    """One line for each needle: the text is the same, the options are all numbers."""
    chance = random.Random(number)
    cities = chance.sample(CITIES, NEEDLES)
    numbers = [str(chance.randrange(1000, 10000)) for _ in cities]
    start = chance.randrange(len(filler) // 3)
    body = filler[start:start + len(filler) // 2]
    room = options.context - 24 * (NEEDLES + 2)
    body = cut(options, body, room)
    paragraphs = body.split("\n\n")
    for index in reversed(range(NEEDLES)):
        place = (2 * index + 1) * len(paragraphs) // (2 * NEEDLES)
        paragraphs.insert(place, f"{sentence(cities[index])} {numbers[index]}.")
    text = "\n\n".join(paragraphs) + "\n\n"
    asked = [f"{sentence(city)} {number}." for city in cities for number in numbers]
    return {"prompt": text, "continuations": asked, "attention": list(map(policy, options.policy))}


def sign_test(first, second):
    """The two-sided probability of a split at least as uneven between two equal coins."""
    n, k = first + second, min(first, second)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--part", choices=["even", "odd"], default="even")
    parser.add_argument("--policy", action="append")
    options = parser.parse_args()
    options.policy = options.policy or ["full", "gated"]
    filler = running_text(options.part)
    first = 0 if options.part == "even" else 1000
    lines = [trial(options, filler, first + number) for number in range(options.trials)]
    lengths = [count_tokens(options, line["prompt"]) for line in lines]
    right = {words: [] for words in options.policy}
    losses = {words: [] for words in options.policy}
    for found, tokens in predict(options, lines):
        for words, found in zip(options.policy, found):
            for index in range(NEEDLES):
                scores = found[index * NEEDLES:(index + 1) * NEEDLES]
                right[words].append(min(range(NEEDLES), key=scores.__getitem__) == index)
                own = index * NEEDLES + index
                losses[words].append(found[own] / tokens[own])
    report(options, lengths, right, losses)


def report(options, lengths, right, losses):
    asked = len(right[options.policy[0]])
    print(f"{options.model}: {asked} needles in {len(lengths)} texts of "
          f"{min(lengths)} to {max(lengths)} tokens, part {options.part}")
    reference, reference_losses = right[options.policy[0]], losses[options.policy[0]]
    for words in options.policy:
        pairs = list(zip(right[words], reference))
        gained, lost = pairs.count((True, False)), pairs.count((False, True))
        low, high = interval([a - b for a, b in pairs], lambda x: sum(x) / len(x))
        more = [a - b for a, b in zip(losses[words], reference_losses)]
        thirds = [sum(right[words][i] for i in range(asked) if i % NEEDLES // 4 == third)
                  for third in range(3)]
        print(f"{words:44} found {sum(right[words])} of {asked} (by thirds of the text {thirds}); "
              f"found alone {gained}, missed alone {lost}, p {sign_test(gained, lost):.2f}, "
              f"difference {100 * low:+.1f} to {100 * high:+.1f} points; "
              f"loss {sum(more) / asked:+.4f} nats a token", flush=True)


if __name__ == "__main__":
    main()
