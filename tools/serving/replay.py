#!/usr/bin/env python3
"""Replays a workload of many users over a server and prints what its caches bring.

    python3 tools/serving/replay.py --server "target/release/autoglm serve --listen 127.0.0.1:{port} {cache}"

The workload: `--requests` requests, each on a connection of its own as from another user, to 12 applications
with instructions of their own (80 to 400 words). A third of the questions are common ones, which three users
ask word for word; the others are asked once. All come in a random order, so that of 300 requests 120 can be
answered from what was answered before. Conversations are answered with temperature
0. It is run three times against a fresh server: with both caches, without the cache of answers, and
without any sharing (each prompt begins with words of its own, so that no prefix is one of another's). What
is saved is time to the whole answer, summed over requests; the hit rate of prefixes is the share of prompts'
tokens that were not computed, as usage tells it.
"""

import argparse
import json
import pydoc_data.topics
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import os


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="command; {port} and {cache} are put in")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--port", type=int, default=18_200)
    options = parser.parse_args()
    work = workload(options)
    both = run(options, work, "--answer-cache 256M")
    prefixes = run(options, work, "--answer-cache 0")
    nothing = run(options, [(f"{number} {random.Random(number).random()} " + system, question) for number, (system, question) in enumerate(work)], "--answer-cache 0")
    hits = [answer for answer in both if answer["hit"]]
    same = {True: [], False: []}
    for with_cache, without in zip(both, prefixes):
        same[with_cache["hit"]].append((with_cache["seconds"], without["seconds"]))
    total = lambda answers: sum(answer["seconds"] for answer in answers)
    cached = sum(answer["cached"] for answer in prefixes) / sum(answer["prompt"] for answer in prefixes)
    print("| cache | hit rate | latency saved |")
    print("|---|---|---|")
    print(f"| prefixes (KV) | {cached:.1%} of prompts' tokens | {1 - total(prefixes) / total(nothing):.1%} |")
    print(f"| full response | {len(hits) / len(both):.1%} of requests | {1 - sum(a for a, _ in same[True]) / sum(b for _, b in same[True]):.1%} of a hit's, {1 - total(both) / total(prefixes):.1%} of all |")
    slowest = sorted(1000 * answer["seconds"] for answer in hits)
    print(f"\nhits: median {slowest[len(slowest) // 2]:.2f} ms, p99 {slowest[int(len(slowest) * 0.99)]:.2f} ms over HTTP")


def workload(options):
    topics = pydoc_data.topics.topics
    texts = [re.sub(r"\s+", " ", topics[key]).split(" ") for key in sorted(topics) if len(topics[key]) > 4_000]
    chance = random.Random(1)
    systems = [" ".join(["You answer questions about this text.", *text[: chance.randint(80, 400)]]) for text in texts[:12]]
    questions = []
    for number in range(round(options.requests * 3 / 5)):
        words = chance.choice(texts)
        start = chance.randrange(len(words) - 12)
        question = f"Question {number}: what does it say of {' '.join(words[start : start + chance.randint(3, 12)])}?"
        questions.append((chance.choice(systems), question))
    common = questions[: len(questions) // 3]
    work = questions + 2 * common
    chance.shuffle(work)
    return work


def run(options, work, cache):
    home = tempfile.mkdtemp()
    # Models are taken from where they are; the caches begin empty.
    own = os.environ.get("AUTOGLM_HOME") or os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "autoglm")
    os.symlink(os.path.join(own, "models"), os.path.join(home, "models"))
    command = shlex.split(options.server.format(port=options.port, cache=cache))
    server = subprocess.Popen(command, env={**os.environ, "AUTOGLM_HOME": home}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(options.port, server)
        return [ask(options.port, system, question) for system, question in work]
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(home)


def wait(port, server):
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
            time.sleep(0.5)
            if server.poll() is not None:
                sys.exit(f"another server listens on port {port} already")
            return
        except OSError:
            if server.poll() is not None:
                sys.exit("the server ended")
            time.sleep(0.1)
    sys.exit("the server does not answer")


def ask(port, system, question):
    body = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": question}], "temperature": 0, "max_tokens": 32}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    begun = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        told = json.load(answer)
        hit = answer.headers["x-autoglm-cache"] == "hit"
    usage = told["usage"]
    return {"seconds": time.perf_counter() - begun, "hit": hit, "prompt": usage["prompt_tokens"], "cached": usage["prompt_tokens_details"]["cached_tokens"]}


if __name__ == "__main__":
    main()
