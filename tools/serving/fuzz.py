#!/usr/bin/env python3
"""Sends a server requests that are generated from its own description, and fails where it fails.

    pip install schemathesis
    python3 tools/serving/fuzz.py --binary target/release/autoglm

The server is started on loopback with a data folder of its own: the default models, a task that has runs,
feedback and examples, and a collection of documents. `schemathesis` then makes requests to every operation of
`/openapi.json`, right ones and wrong ones; three in four are about things that there are (`fuzz_hooks.py`).
It ends with 1 where an answer is a server error, has a status, a type or a form that the document does not name,
where a request was accepted that the document does not allow, or where fewer than `--requests` were sent in all.
What the document allows may be refused: it does not say which fields the records of a task have.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from running import Server

HERE = pathlib.Path(__file__).resolve().parent
TASK = HERE.parent.parent / "examples" / "reviews" / "task.toml"
NOTES = {
    "pump.md": "# The pump\n\nThe pump is oiled with SAE 30 every two weeks. The seal is changed once a year.\n",
    "水泵.md": "# 水泵\n\n水泵每两周加一次油，油的牌号是 SAE 30。密封圈每年更换一次。\n",
}


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="autoglm-fuzz-") as folder:
        collection = index(options.binary, pathlib.Path(folder))
        command = f"{options.binary} serve --listen 127.0.0.1:{{port}} --answer-tokens 8 --task {TASK} --knowledge {collection}"
        with open(os.path.join(folder, "errors"), "w+") as errors:
            server = Server(command, options.port, errors)
            try:
                prepare(server)
                status, said = run(server, options, folder)
                ready = server.ask("GET", "/health/ready")[0]
            finally:
                server.stop()
            errors.seek(0)
            panics = [line for line in errors if "panicked" in line]
    sent = requests_of(said)
    print(f"{sent} requests; the server answers {ready} at the end and panicked {len(panics)} times")
    print("".join(panics), end="")
    sys.exit(status or int(ready != 200 or bool(panics) or sent < options.requests))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/autoglm")
    parser.add_argument("--st", default="st", help="the program of schemathesis")
    parser.add_argument("--examples", type=int, default=220, help="requests to an operation at most, of each kind")
    parser.add_argument("--requests", type=int, default=2_000, help="fewer than these in all are a failure")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=18_500)
    return parser.parse_args()


def index(binary, folder):
    """The file of a small collection."""
    documents = folder / "documents"
    documents.mkdir()
    for name, text in NOTES.items():
        (documents / name).write_text(text, encoding="utf-8")
    home = folder / "home"
    words = [binary, "index", str(documents), "--collection", "notes", "--embedder", "none", "--store", "local"]
    subprocess.run(words, env={**os.environ, "AUTOGLM_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    return home / "knowledge" / "notes.sqlite"


def prepare(server):
    """Leaves something of each kind that requests may be about."""
    task = "/v1/tasks/reviews"
    texts = ["I would buy it again.", "It broke on the first day.", "Neither good nor bad."]
    steps = [
        ("POST", f"{task}/run", {"records": [{"text": text} for text in texts]}),
        ("POST", f"{task}/feedback", [{"run": 1, "record": 0, "good": True}]),
        ("POST", f"{task}/examples", [{"record": {"text": "A joy."}, "answer": "positive"}]),
    ]
    for method, path, body in steps:
        status, told = server.ask(method, path, body)
        if status != 200:
            sys.exit(f"{method} {path}: {status} {told}")


def run(server, options, folder):
    """The status of `schemathesis`, and what it said, which is printed as it comes."""
    names = {
        "path": {"task": "reviews", "name": server.model(), "id": 1, "run": 1},
        "body": {"collection": "notes", "model": server.model()},
    }
    hooks = {"SCHEMATHESIS_HOOKS": str(HERE / "fuzz_hooks.py"), "AUTOGLM_FUZZ_NAMES": json.dumps(names)}
    words = [options.st, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--phases", "fuzzing", "--no-color",
             "--max-examples", str(options.examples), "--seed", str(options.seed), "--continue-on-failure",
             "--exclude-checks", "positive_data_acceptance", "--generation-database", "none", "--request-timeout", "120"]
    process = subprocess.Popen(words, env={**os.environ, **hooks}, cwd=folder, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stdout:
        print(line, end="", flush=True)
        said.append(line)
    return process.wait(), "".join(said)


def requests_of(said):
    """How many requests `schemathesis` says that it has generated."""
    found = re.search(r"([\d,]+) generated", said)
    return int(found.group(1).replace(",", "")) if found else 0


if __name__ == "__main__":
    main()
