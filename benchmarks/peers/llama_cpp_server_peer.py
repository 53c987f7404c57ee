"""Measures the HTTP server of llama-cpp-python, which answers requests with llama.cpp.

    python benchmarks/peers/llama_cpp_server_peer.py MODEL.gguf \\
        --works '[{"work": "clients", "prefix": 400, "clients": 8}]'

Prints one JSON object for each kind of work that requests show: the first token behind a known
prefix, and clients at once behind one. Other kinds are left out. What is timed are whole requests
over loopback, as it is for AutoGLM, whose requests go through its engine without HTTP. The server
needs the package's extra `server`. It keeps the keys and values of the request before.
"""

import concurrent.futures
import importlib.metadata
import json
import random
import socket
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request

from options import parser as options_of

SUFFIX_TOKENS = 8
START_SECONDS = 120


class Server:
    """The server on a free port of loopback, for as long as it is needed."""

    def __init__(self, path, threads, context):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", "--model", path, "--host", "127.0.0.1",
             "--port", str(port), "--n_threads", str(threads), "--n_threads_batch", str(threads),
             "--n_ctx", str(context), "--n_batch", "512", "--verbose", "false"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait()

    def wait(self):
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}")
            try:
                return urllib.request.urlopen(f"{self.url}/v1/models", timeout=5).read()
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise SystemExit(f"the server did not answer within {START_SECONDS} s")

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def complete(self, prompt, tokens):
        """The number of tokens that the server has generated."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        return self.post("/v1/completions", body)["usage"]["completion_tokens"]

    def text(self, tokens):
        """Random words that make about so many tokens, never more."""
        text = ""
        while True:
            word = "".join(random.choices(string.ascii_lowercase, k=random.randrange(2, 8)))
            longer = f"{text} {word}"
            if self.post("/extras/tokenize/count", {"input": longer})["count"] > tokens:
                return text
            text = longer

    def close(self):
        self.process.terminate()
        self.process.wait()


def sample(server, work, decode):
    """Tokens a second of all clients, or milliseconds to the first token."""
    prefix = server.text(work["prefix"])
    clients = work.get("clients", 1)
    tokens = decode if work["work"] == "clients" else 1
    prompts = [prefix + server.text(SUFFIX_TOKENS) for _ in range(clients)]
    server.complete(prefix, 1)
    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        began = time.perf_counter()
        done = sum(threads.map(lambda prompt: server.complete(prompt, tokens), prompts))
        seconds = time.perf_counter() - began
    return done / seconds if work["work"] == "clients" else seconds * 1e3


def measure(server, work, options):
    sample(server, work, options.decode)
    samples = [sample(server, work, options.decode) for _ in range(options.repetitions)]
    unit = "tokens/s" if work["work"] == "clients" else "ms"
    return work | {"unit": unit, "samples": samples}


def main():
    options = options_of(__doc__).parse_args()
    random.seed(1)
    works = [work for work in options.works if work["work"] in ("clients", "next-first-token")]
    if not works:
        return
    engine = {"engine": f"llama-cpp-python[server] "
                        f"{importlib.metadata.version('llama-cpp-python')}"}
    longest = max(work["prefix"] for work in works)
    server = Server(options.model, options.threads, longest + SUFFIX_TOKENS + options.decode + 64)
    try:
        for work in works:
            print(json.dumps(engine | measure(server, work, options)), flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main()
