"""Records per second for scored labels: ours beside a loop around llama-cpp-python.

    pip install llama-cpp-python numpy
    python tools/reference/score_speed.py --model MODEL.gguf --prompts PROMPTS.jsonl \\
        --autoglm 'target/release/autoglm eval TASK --data F.jsonl --json'

PROMPTS.jsonl has one object a record, {"prompt": TEXT, "options": [TEXT, ...]}: the very prompts
that the command of --autoglm scores. Rounds alternate between the two, so that both see the
machine in the same state; the first round of each is not counted. The loop of the peer keeps the
keys and values of the prefix that a prompt shares with the one before it, evaluates only the rest,
and reads an option of one token from the logits of the prompt's end without another evaluation.

Our rate is the field `records_per_second` of what the command prints; where it has none, the
records divided by the whole time of the process, loading included.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import time

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api


class Peer:
    """Scores options behind prompts with llama-cpp-python, reusing the shared prefix."""

    def __init__(self, model, threads, context):
        self.llm = llama_cpp.Llama(model, n_ctx=context, n_batch=512, n_threads=threads,
                                   n_threads_batch=threads, verbose=False)
        vocabulary = api.llama_model_get_vocab(self.llm.model)
        self.add_bos = api.llama_vocab_get_add_bos(vocabulary)

    def tokens(self, text, add_bos):
        return self.llm.tokenize(text.encode("utf-8"), add_bos=add_bos, special=False)

    def advance(self, tokens):
        """Evaluates the tokens that the cache does not hold; the last one always."""
        cached = self.llm.input_ids[: self.llm.n_tokens]
        limit = min(len(cached), len(tokens) - 1)
        differs = np.flatnonzero(cached[:limit] != tokens[:limit])
        self.llm.n_tokens = int(differs[0]) if len(differs) else limit
        self.llm.eval(tokens[self.llm.n_tokens :])

    def log_probabilities(self):
        row = np.ctypeslib.as_array(api.llama_get_logits_ith(self.llm.ctx, -1),
                                    (self.llm.n_vocab(),))
        top = row.max()
        return row - top - np.log(np.exp(row - top).sum())

    def score(self, prompt, options):
        """Log-probability of every option behind the prompt."""
        prompt = self.tokens(prompt, self.add_bos)
        options = [self.tokens(option, False) for option in options]
        self.advance(prompt)
        row = self.log_probabilities()
        scores = [float(row[option[0]]) for option in options]
        for i, option in enumerate(options):
            for end in range(1, len(option)):
                self.advance(prompt + option[:end])
                scores[i] += float(self.log_probabilities()[option[end]])
        return scores


def peer_round(peer, records):
    """Records per second of one pass, and the answers."""
    peer.llm.reset()
    began = time.perf_counter()
    answers = [int(np.argmax(peer.score(r["prompt"], r["options"]))) for r in records]
    return len(records) / (time.perf_counter() - began), answers


def our_round(command, count):
    """Records per second of one run of our command."""
    began = time.perf_counter()
    done = subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - began
    return json.loads(done.stdout).get("records_per_second", count / seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--autoglm", help="our command, quoted; without it only the peer runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--limit", type=int, help="only so many records of the file")
    options = parser.parse_args()
    with open(options.prompts, encoding="utf-8") as file:
        records = [json.loads(line) for line in file][: options.limit]
    peer = Peer(options.model, options.threads, options.context)
    rates = {"autoglm": [], "llama_cpp_python": []}
    for counted in [False] + [True] * options.rounds:
        ours = our_round(options.autoglm, len(records)) if options.autoglm else None
        theirs, _ = peer_round(peer, records)
        if counted:
            rates["autoglm"].append(ours)
            rates["llama_cpp_python"].append(theirs)
    result = {"records": len(records), "threads": options.threads, "records_per_second": rates}
    if options.autoglm:
        ratios = [a / b for a, b in zip(rates["autoglm"], rates["llama_cpp_python"])]
        result |= {"ratios": ratios, "median_ratio": statistics.median(ratios)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
