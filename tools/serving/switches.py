#!/usr/bin/env python3
"""Switches a model's version under load and prints what clients notice.

    python3 tools/serving/switches.py --binary target/release/autoglm

Python 3.10 or later, no packages, Linux. The model is the default for text; the other version is the same
weights in 4 bits of another kind (`autoglm model quantize --type q4_0`), so that it is another file whose
answers differ. Clients ask a fixed set of questions with temperature 0 over connections that they keep,
every other one as a stream. First each version answers every question alone: what it says then is what it
has to say later. Then the same load runs for `--seconds` without and with `--switches` changes of the live
version, each by `POST /admin/models/NAME/update`.

An answer is mixed where its pieces have two fingerprints, or where its text is not what the version of its
fingerprint says. Beside that: a rollback is timed from the request to the first answer of the version
before, and a file that is cut in half, or has numbers that are none, must be refused and change nothing.
The script ends with 1 where a request failed, an answer was mixed, a rollback took more than 10 s or a
broken file was taken; what p99 is beside the quiet run is printed, and judged with `--p99`.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

from running import WORDS, Server, percentile


def main():
    options = parse()
    folder = tempfile.mkdtemp(prefix="autoglm-switches-")
    served = f"{options.binary} serve --listen 127.0.0.1:{{port}} --answer-cache 0 --timeout 120"
    server = Server(served, options.port)
    try:
        files = versions(options, server, folder)
        told = run(options, server, files, folder)
    finally:
        server.stop()
        subprocess.run(["rm", "-r", folder], check=False)
    sys.exit(report(options, told))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/autoglm")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--switches", type=int, default=50)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between a client's answer and its next request")
    parser.add_argument("--tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--p99", type=float, help="fail where p99 is more than so many times that of the quiet run")
    parser.add_argument("--port", type=int, default=18_300)
    return parser.parse_args()


def versions(options, server, folder):
    """The files of both versions; the first is the one that is live."""
    source = server.ask("GET", "/admin/models")[1]["models"][0]["live"]["source"]
    path = os.path.join(server.home, "models", f"{source}.gguf")
    other = os.path.join(folder, "other.gguf")
    made = [options.binary, "model", "quantize", path, other, "--type", "q4_0"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [path, other]


def run(options, server, files, folder):
    told = {"model": server.model()}
    questions = [question(number) for number in range(12)]
    expected = {}
    for path in [files[1], files[0]]:
        switch(server, told["model"], path)
        for asked in questions:
            answer = ask(options, http_to(server), asked, False)
            expected[answer["prints"].pop(), asked] = answer["text"]
    differing = sum(len({text for (_, asked), text in expected.items() if asked == one}) == 2 for one in questions)
    told["differing"] = f"{differing} of {len(questions)}"
    load = Load(options, server, questions, expected)
    told["quiet"] = load.during(lambda: time.sleep(options.seconds))
    told["switched"] = load.during(lambda: told.update(changes(options, server, told["model"], files)))
    told["rollback_s"] = rollback(options, server, told["model"], files, questions, expected)
    told["refused"] = broken(server, told["model"], files[0], folder)
    return told


def question(number):
    chance = random.Random(number)
    return "Write one sentence about " + ", ".join(chance.sample(WORDS, chance.randint(2, 12))) + "."


def switch(server, model, path):
    status, told = server.ask("POST", f"/admin/models/{model}/update", {"source": path, "force": True})
    if status != 200:
        sys.exit(f"a switch to {path} was refused: {told}")
    return told


def changes(options, server, model, files):
    """Changes the live version at even distances; as fast as it goes where that is not possible."""
    begun, took = time.perf_counter(), []
    for turn in range(options.switches):
        due = begun + options.seconds * turn / options.switches
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        switch(server, model, files[(turn + 1) % 2])
        took.append(time.perf_counter() - started)
    all_took = time.perf_counter() - begun
    time.sleep(max(0.0, options.seconds - all_took))
    return {"switches": options.switches, "switches_took_s": all_took, "switch_median_s": percentile(took, 0.5)}


def http_to(server):
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)


def ask(options, connection, asked, stream):
    body = {"messages": [{"role": "user", "content": asked}], "temperature": 0, "max_tokens": options.tokens, "stream": stream}
    begun = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise OSError(f"{answer.status}: {text}")
    seconds = time.perf_counter() - begun
    if not stream:
        whole = json.loads(text)
        return {"text": whole["choices"][0]["message"]["content"], "prints": {whole["system_fingerprint"]}, "seconds": seconds}
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if lines.pop() != "[DONE]":
        raise OSError("a stream broke off")
    chunks = [json.loads(line) for line in lines]
    parts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    return {"text": "".join(parts), "prints": {chunk["system_fingerprint"] for chunk in chunks}, "seconds": seconds}


class Load:
    """Clients that ask while something else happens."""

    def __init__(self, options, server, questions, expected):
        self.options, self.server, self.questions, self.expected = options, server, questions, expected

    def during(self, what):
        self.is_over, self.answers, self.failed, self.mixed = threading.Event(), [], [], []
        clients = [threading.Thread(target=self.client, args=(number,)) for number in range(self.options.clients)]
        for client in clients:
            client.start()
        what()
        self.is_over.set()
        for client in clients:
            client.join()
        seconds = [answer["seconds"] for answer in self.answers]
        prints = {fingerprint for answer in self.answers for fingerprint in answer["prints"]}
        return {
            "answers": len(self.answers), "failed": len(self.failed), "mixed": len(self.mixed), "versions": len(prints),
            "p50_ms": 1000 * percentile(seconds, 0.5), "p99_ms": 1000 * percentile(seconds, 0.99), "why": self.failed[:3] + self.mixed[:3],
        }

    def client(self, number):
        chance, connection = random.Random(number), http_to(self.server)
        while not self.is_over.is_set():
            asked = chance.choice(self.questions)
            try:
                answer = ask(self.options, connection, asked, chance.random() < 0.5)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failed.append(repr(error))
                connection = http_to(self.server)
                continue
            self.answers.append(answer)
            wanted = {self.expected.get((fingerprint, asked)) for fingerprint in answer["prints"]}
            if wanted != {answer["text"]}:
                self.mixed.append({"prints": sorted(answer["prints"]), "text": answer["text"], "wanted": sorted(map(str, wanted))})
            self.is_over.wait(self.options.pause)


def rollback(options, server, model, files, questions, expected):
    switch(server, model, files[0])
    before = ask(options, http_to(server), questions[0], False)["prints"]
    switch(server, model, files[1])
    begun = time.perf_counter()
    status, told = server.ask("POST", f"/admin/models/{model}/rollback", {})
    answer = ask(options, http_to(server), questions[0], False)
    took = time.perf_counter() - begun
    if status != 200 or answer["prints"] != before:
        sys.exit(f"the rollback failed: {told}")
    return took


def broken(server, model, path, folder):
    """How files are refused that are cut off, or full of numbers that are none; none of them may change
    anything."""
    with open(path, "rb") as source:
        good = source.read()
    half = len(good) // 2
    files = {"cut off": good[:half], "no numbers": good[:half] + b"\xff" * (len(good) - half), "empty": b""}
    live = server.ask("GET", "/admin/models")[1]["models"][0]["live"]["version"]
    statuses = {}
    for name, content in files.items():
        at = os.path.join(folder, "broken.gguf")
        with open(at, "wb") as out:
            out.write(content)
        statuses[name], _ = server.ask("POST", f"/admin/models/{model}/update", {"source": at, "force": True})
        if server.ask("GET", "/admin/models")[1]["models"][0]["live"]["version"] != live:
            statuses[name] = 200
    return statuses


def report(options, told):
    print(f"{told['model']}, {options.clients} clients, answers of {options.tokens} tokens; the versions differ in {told['differing']} answers\n")
    print("| run | answers | failed | mixed | versions seen | median | p99 |\n|---|---|---|---|---|---|---|")
    for name in ("quiet", "switched"):
        row = told[name]
        print(f"| {name} | {row['answers']} | {row['failed']} | {row['mixed']} | {row['versions']} | {row['p50_ms']:.0f} ms | {row['p99_ms']:.0f} ms |")
        for why in row["why"]:
            print(f"  {why}", file=sys.stderr)
    ratio = told["switched"]["p99_ms"] / told["quiet"]["p99_ms"]
    print(f"\n{told['switches']} switches in {told['switches_took_s']:.1f} s, median {told['switch_median_s']:.2f} s each; p99 is {ratio:.2f} times the quiet run's")
    print(f"rollback to the first answer of the version before: {told['rollback_s']:.2f} s")
    print("broken files: " + ", ".join(f"{name} {status}" for name, status in told["refused"].items()))
    lost = sum(told[name]["failed"] + told[name]["mixed"] for name in ("quiet", "switched"))
    is_taken = any(status < 400 for status in told["refused"].values())
    is_late = told["switches_took_s"] > options.seconds * 1.02 + 1
    is_slow = options.p99 is not None and ratio > options.p99
    return int(bool(lost or is_taken or is_late or is_slow or told["rollback_s"] > 10))


if __name__ == "__main__":
    main()
