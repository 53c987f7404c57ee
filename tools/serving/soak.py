#!/usr/bin/env python3
"""Keeps a server at 80 % of what it can do, among clients that misbehave, and looks for leaks.

    python3 tools/serving/soak.py --binary target/release/autoglm --seconds 1800

Python 3.10 or later, no packages, Linux. The default model answers conversations of 10 to 60 words with 16
tokens. What the server can do is measured first (`--measure` seconds, eight clients that each ask again at
once); then requests come at `--share` of that rate whether or not earlier ones are answered. Beside them
clients hang up in the middle of an answer, send bytes that are no HTTP, broken JSON, half a request and no
more, close their sending side, send 100 MB, or never read what they are sent; one begins every
`--disturb` seconds, each kind in turn.

The rules:

- No request of the well-behaved clients fails; a refusal with 429 counts as a failure.
- Memory is flat: the median of resident memory over the last quarter is at most 3 % and 8 MiB above that
  over the second quarter. The first quarter is for caches to fill.
- Descriptors do not grow: when all clients have left there are at most two more than before the first came.
- The server still answers, and ends well when it is told to.

It ends with 1 where one of them does not hold. `--every` sets how often a line is printed; `--json` names a
file for all samples.
"""

import argparse
import http.client
import json
import random
import socket
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from running import WORDS, Server, percentile

TOKENS = 16
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


def main():
    options = parse()
    command = f"{options.binary} serve --listen 127.0.0.1:{{port}} --answer-cache 4M --cache-tokens {options.cache_tokens} --grace 10"
    server = Server(command, options.port)
    try:
        for number in range(4):
            ask(server, random.Random(number))
        time.sleep(1)
        before = server.descriptors()
        rate = capacity(server, options.measure)
        print(f"capacity {rate:.1f} requests/s; {rate * options.share:.1f} requests/s for {options.seconds:.0f} s", flush=True)
        soak = Soak(server, options, rate * options.share)
        soak.run()
        after = settle(server, before)
        is_alive = ask(server, random.Random(0)) is None
    finally:
        server.stop()
    ended = server.process.returncode
    print(f"descriptors {before} before, {after} after; the server ended with {ended}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"rate": rate, "samples": soak.samples, "before": before, "after": after}, out)
    sys.exit(judge(soak, (before, after), is_alive and ended == 0))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/autoglm")
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--measure", type=float, default=15)
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--disturb", type=float, default=1.5)
    parser.add_argument("--every", type=float, default=60)
    parser.add_argument("--cache-tokens", type=int, default=8_192)
    parser.add_argument("--port", type=int, default=18_400)
    parser.add_argument("--json")
    return parser.parse_args()


def conversation(chance, **more):
    words = " ".join(chance.choice(WORDS) for _ in range(chance.randint(10, 60)))
    return {"messages": [{"role": "user", "content": f"{chance.random()} {words}"}], "max_tokens": TOKENS, **more}


def ask(server, chance):
    """Why there is no answer; nothing where there is one."""
    try:
        status, answer = server.ask("POST", "/v1/chat/completions", conversation(chance, temperature=0))
        is_answer = status == 200 and answer["choices"][0]["finish_reason"] in ("stop", "length")
        return None if is_answer else f"{status}: {answer}"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return repr(error)


def capacity(server, seconds):
    until, counts = time.perf_counter() + seconds, []

    def client(number):
        chance, count = random.Random(f"capacity {number}"), 0
        while time.perf_counter() < until:
            count += ask(server, chance) is None
        counts.append(count)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def settle(server, before):
    """Descriptors when all clients have left: the server is given some seconds to notice."""
    for _ in range(40):
        found = server.descriptors()
        if found <= before:
            break
        time.sleep(0.25)
    return found


class Soak:
    def __init__(self, server, options, rate):
        self.server, self.options, self.rate = server, options, rate
        self.is_over = threading.Event()
        self.took, self.failed, self.samples, self.disturbed = [], [], [], {}

    def run(self):
        self.begun = time.perf_counter()
        threads = [threading.Thread(target=work) for work in (self.disturb, self.watch)]
        for thread in threads:
            thread.start()
        with ThreadPoolExecutor(64) as clients:
            for number in range(int(self.options.seconds * self.rate)):
                due = self.begun + number / self.rate
                time.sleep(max(0.0, due - time.perf_counter()))
                clients.submit(self.one, number, due)
        self.is_over.set()
        for thread in threads:
            thread.join()
        self.line()

    def one(self, number, due):
        why = ask(self.server, random.Random(f"soak {number}"))
        if why is None:
            self.took.append(time.perf_counter() - due)
        else:
            self.failed.append(why)

    def watch(self):
        due = self.options.every
        while not self.is_over.wait(min(1.0, self.options.seconds / 60)):
            at = time.perf_counter() - self.begun
            self.samples.append((at, self.server.memory_mib(), self.server.descriptors()))
            if at >= due:
                due += self.options.every
                self.line()

    def line(self):
        at, memory, descriptors = self.samples[-1]
        took = self.took[-500:]
        print(
            f"{at:6.0f} s  {memory:7.1f} MiB  {descriptors:3} descriptors  {len(self.took)} answers, {len(self.failed)} failed  "
            f"last 500: median {1000 * percentile(took, 0.5):.0f} ms, p99 {1000 * percentile(took, 0.99):.0f} ms",
            flush=True,
        )

    def disturb(self):
        chance, unread, turn = random.Random("disturb"), [], 0
        kinds = [hang_up, garbage, broken_json, half_a_request, half_close, too_much, never_read]
        while not self.is_over.wait(self.options.disturb):
            kind = kinds[turn % len(kinds)]
            turn += 1
            try:
                kept = kind(self.server.port, chance)
            except OSError:
                # Being cut off is what such clients have to expect.
                kept = None
            if kept is not None:
                unread.append(kept)
            while len(unread) > 4:
                unread.pop(0).close()
            self.disturbed[kind.__name__] = self.disturbed.get(kind.__name__, 0) + 1
        for connection in unread:
            connection.close()


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    return connection


def request(chance, **more):
    body = json.dumps(conversation(chance, **more)).encode()
    return f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body


def hang_up(port, chance):
    with connect(port) as connection:
        connection.sendall(request(chance, stream=True) if chance.random() < 0.5 else request(chance))
        time.sleep(0.1)


def garbage(port, chance):
    with connect(port) as connection:
        connection.sendall(chance.randbytes(4_096))
        connection.recv(4_096)


def broken_json(port, chance):
    with connect(port) as connection:
        body = request(chance).split(b"\r\n\r\n")[1][:-3]
        connection.sendall(f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body)
        if not connection.recv(4_096).startswith(b"HTTP/1.1 400"):
            raise SystemExit("broken JSON was not refused with 400")


def half_a_request(port, chance):
    """Kept open, so that the server has to wait for the rest."""
    connection = connect(port)
    connection.sendall(request(chance)[:-20])
    return connection


def half_close(port, chance):
    with connect(port) as connection:
        connection.sendall(request(chance))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


def too_much(port, _chance):
    with connect(port) as connection:
        connection.sendall(f"{HEAD}content-length: 104857600\r\n\r\n".encode())
        for _ in range(100):
            connection.sendall(b" " * (1 << 20))
        connection.recv(4_096)


def never_read(port, chance):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(request(chance, stream=True, logprobs=True, top_logprobs=20))
    return connection


def judge(soak, descriptors, ended_well):
    took = soak.took
    print(f"{len(took)} answers: median {1000 * percentile(took, 0.5):.0f} ms, p99 {1000 * percentile(took, 0.99):.0f} ms; {len(soak.failed)} failed")
    for why in soak.failed[:5]:
        print(f"  {why}", file=sys.stderr)
    print("disturbed by " + ", ".join(f"{count} {kind}" for kind, count in sorted(soak.disturbed.items())))
    memory = [sample[1] for sample in soak.samples]
    quarter = len(memory) // 4
    early, late = statistics.median(memory[quarter : 2 * quarter]), statistics.median(memory[-quarter:])
    allowed = early * 1.03 + 8
    print(f"memory {early:.1f} MiB in the second quarter, {late:.1f} MiB in the last; at most {allowed:.1f} MiB")
    before, after = descriptors
    broken = {
        "requests failed": bool(soak.failed) or not took,
        "memory grew": late > allowed,
        "descriptors grew": after > before + 2,
        "the server did not end well": not ended_well,
    }
    for what in (what for what, is_so in broken.items() if is_so):
        print(f"FAILED: {what}", file=sys.stderr)
    return int(any(broken.values()))


if __name__ == "__main__":
    main()
