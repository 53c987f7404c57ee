"""What the scripts of this folder share: the binary, running text, policies and intervals."""

import json
import math
import random
import subprocess
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

ROOT = Path(__file__).parents[2]


def running_text(part):
    """About 230,000 characters of the help texts that every Python brings: those at even places of
    the alphabet ('even', for evaluation), or at odd ones ('odd', for choosing settings)."""
    names = sorted(topics)[0 if part == "even" else 1::2]
    return "\n\n".join(topics[name].strip() for name in names)


def add_engine_options(parser):
    """The options that every script has."""
    parser.add_argument("--autoglm", default=str(ROOT / "target/release/autoglm"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)


def autoglm(options, *args, text=None):
    """The standard output of a command."""
    command = [options.autoglm, *map(str, args), "--model", options.model]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def count_tokens(options, text):
    return int(autoglm(options, "tokenize", "--count", text=text))


def cut(options, text, tokens):
    """The longest beginning of the text, to 16 characters, that has no more tokens than this."""
    low, high = 0, min(len(text), 8 * tokens)
    while high - low > 16:
        middle = (low + high + 1) // 2
        if count_tokens(options, text[:middle]) <= tokens:
            low = middle
        else:
            high = middle
    return text[:low]


def policy(words):
    """'full', 'gated', or 'gated:selected=512,recent=256-1024,sinks=64'."""
    name, _, settings = words.partition(":")
    if name == "full":
        return "full"
    found = {}
    for setting in filter(None, settings.split(",")):
        key, value = setting.split("=")
        if key == "recent":
            least, most = value.split("-")
            found |= {"least_recent_tokens": int(least), "most_recent_tokens": int(most)}
        else:
            found[{"sinks": "sink_tokens", "selected": "selected_tokens"}[key]] = int(value)
    return {"gated": found}


def predict(options, lines, *args):
    """Negative log-likelihoods of continuations: for each line [policy][continuation], and the
    number of tokens of each continuation."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        found = autoglm(options, "perplexity", "--continuations", file.name,
                        "--threads", options.threads, *args)
    found = [json.loads(line) for line in found.splitlines()]
    return [(line["negative_log_likelihoods"], line["predicted_tokens"]) for line in found]


def interval(values, statistic, rounds=4_000, seed=1):
    """The middle 95 % of a statistic over samples with replacement of the values."""
    chance = random.Random(seed)
    found = sorted(statistic(chance.choices(values, k=len(values))) for _ in range(rounds))
    return found[int(0.025 * rounds)], found[int(0.975 * rounds)]


def ratio_of_perplexities(pairs):
    """exp of the mean difference of losses a token, from (loss, reference loss, tokens)."""
    difference = sum(loss - reference for loss, reference, _ in pairs)
    return math.exp(difference / sum(tokens for _, _, tokens in pairs))
