#!/usr/bin/env python3
"""Loads a server over HTTP, beside another one in turns, and prints what clients notice.

    pip install 'llama-cpp-python[server]'
    python3 tools/serving/load.py \\
        --ours "target/release/autoglm serve -m MODEL.gguf --listen 127.0.0.1:{port}" \\
        --peer "python -m llama_cpp.server --model MODEL.gguf --port {port} --n_ctx 8192 --n_threads 2"

Python 3.10 or later, no packages. Servers run one at a time; a round measures each at every number of
clients, and ratios are taken within rounds. Requests are streamed completions with temperature 0: the
text of a prompt is from Python's own help, cut to lengths between `--least` and `--most` words behind a
prefix of `--prefix` words that all share (0: none); answers have 16 to 96 tokens at most. Both servers
get the same requests in the same order.

Tokens are counted by the answer's usage where the server tells it in a stream, else by its events, of
which the peer sends one a token; tokens of prompts by AutoGLM's tokenizer for both.
"""

import argparse
import asyncio
import json
import pydoc_data.topics
import random
import re
import shlex
import statistics
import subprocess
import sys
import time
import urllib.request

PORT = 18_100


def main():
    options = parse()
    results = []
    for round_number in range(options.rounds):
        order = [("ours", options.ours)] + ([("peer", options.peer)] if options.peer else [])
        for name, command in order if round_number % 2 == 0 else order[::-1]:
            server = Server(command, options.port)
            try:
                for clients in options.clients:
                    measured = measure(server, options, clients, round_number)
                    measured["server"] = name
                    results.append(measured)
                    print(line(measured), flush=True)
            finally:
                server.stop()
    print()
    print(table(results, options.clients))
    if options.json:
        with open(options.json, "w") as out:
            json.dump(results, out, indent=1)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="command of a server; {port} is put in")
    parser.add_argument("--peer", help="command of another one")
    parser.add_argument("--clients", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=6, help="requests of each client, at least 24 in all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix", type=int, default=0, help="words that all prompts share")
    parser.add_argument("--least", type=int, default=20)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--json", help="a file for all figures")
    return parser.parse_args()


class Server:
    """A server that was started here, on loopback."""

    def __init__(self, command, port):
        self.port = port
        self.process = subprocess.Popen(
            shlex.split(command.format(port=port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
                    self.model = json.load(answer)["data"][0]["id"]
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the server ended: {command}")
                time.sleep(0.1)
        sys.exit(f"the server does not answer: {command}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def requests(options, clients, round_number):
    """The same requests for every server; others in every round."""
    words = re.sub(r"\s+", " ", " ".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))).split(" ")
    chance = random.Random(f"{clients} {round_number} {options.prefix}")
    prefix = words[: options.prefix]
    made = []
    for _ in range(max(24, clients * options.requests)):
        length = chance.randint(options.least, options.most)
        start = chance.randrange(len(words) - length)
        made.append((" ".join(prefix + words[start : start + length]), chance.randint(16, 96)))
    return made


def measure(server, options, clients, round_number):
    work = requests(options, clients, round_number)
    asyncio.run(drive(server, requests(options, clients, -1)[: min(clients, 4)], clients))
    begun = time.perf_counter()
    answers = asyncio.run(drive(server, work, clients))
    took = time.perf_counter() - begun
    good = [answer for answer in answers if answer["status"] == 200]
    first = sorted(answer["first"] for answer in good)
    return {
        "clients": clients,
        "round": round_number,
        "requests": len(answers),
        "refused": sum(answer["status"] == 429 for answer in answers),
        "failed": sum(answer["status"] not in (200, 429) for answer in answers),
        "written_per_s": sum(answer["tokens"] for answer in good) / took,
        "words_per_s": sum(answer["words"] for answer in good) / took,
        "first_p50_ms": 1000 * first[len(first) // 2] if first else float("nan"),
        "first_p99_ms": 1000 * first[min(len(first) - 1, int(len(first) * 0.99))] if first else float("nan"),
    }


async def drive(server, work, clients):
    """Clients that each send the next request as soon as they have an answer."""
    queue = list(reversed(work))
    answers = []

    async def client():
        while queue:
            prompt, most = queue.pop()
            answers.append(await ask(server, prompt, most))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def ask(server, prompt, most):
    body = {"model": server.model, "prompt": prompt, "max_tokens": most, "temperature": 0, "stream": True}
    body["stream_options"] = {"include_usage": True}
    body = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    begun = time.perf_counter()
    answer = {"status": 0, "first": None, "tokens": 0, "told": None, "words": len(prompt.split(" "))}
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head.encode() + body)
        await writer.drain()
        answer["status"] = int((await reader.readline()).split()[1])
        while line := await reader.readline():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or {}
            answer["told"] = usage.get("completion_tokens", answer["told"])
            choices = event.get("choices") or []
            if choices and choices[0].get("text"):
                answer["first"] = answer["first"] or time.perf_counter() - begun
                answer["tokens"] += 1
        writer.close()
    except OSError:
        answer["status"] = -1
    if answer["told"] is not None:
        answer["tokens"] = answer["told"]
    if answer["status"] == 200 and answer["first"] is None:
        answer["first"] = time.perf_counter() - begun
    return answer


def line(measured):
    return (
        f"round {measured['round']}  {measured['server']}  {measured['clients']:3} clients  "
        f"{measured['written_per_s']:7.1f} written/s  {measured['words_per_s']:8.1f} words of prompts/s  "
        f"first {measured['first_p50_ms']:7.0f} ms, p99 {measured['first_p99_ms']:7.0f} ms  "
        f"refused {measured['refused']}, failed {measured['failed']}"
    )


def table(results, clients):
    rows = ["| clients | server | written tokens/s | words of prompts/s | first token, median | p99 | refused | failed | ratio |", "|---|---|---|---|---|---|---|---|---|"]
    for count in clients:
        ratios = []
        for name in ("ours", "peer"):
            own = [r for r in results if r["clients"] == count and r["server"] == name]
            if not own:
                continue
            if name == "peer":
                mine = {r["round"]: r for r in results if r["clients"] == count and r["server"] == "ours"}
                ratios = [mine[r["round"]]["written_per_s"] / max(r["written_per_s"], 1e-9) for r in own if r["round"] in mine]
            median = lambda key: statistics.median(r[key] for r in own)
            ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
            rows.append(
                f"| {count} | {name} | {median('written_per_s'):.1f} | {median('words_per_s'):.0f} | {median('first_p50_ms'):.0f} ms | "
                f"{median('first_p99_ms'):.0f} ms | {sum(r['refused'] for r in own)} | {sum(r['failed'] for r in own)} | {ratio} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
