"""A server that a script starts on loopback, with a data folder of its own."""

import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

WORDS = (
    "harbour", "ledger", "winter", "copper", "garden", "signal", "bridge", "letter", "market", "engine",
    "forest", "window", "silver", "planet", "bottle", "camera", "desert", "island", "kitchen", "ladder",
)


class Server:
    """`command` has {port} put in. Models are taken from where they are; nothing else is shared."""

    def __init__(self, command, port, stderr=subprocess.DEVNULL):
        self.port = port
        self.home = tempfile.mkdtemp(prefix="autoglm-")
        own = os.environ.get("AUTOGLM_HOME")
        data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        os.symlink(os.path.join(own or os.path.join(data, "autoglm"), "models"), os.path.join(self.home, "models"))
        environment = {**os.environ, "AUTOGLM_HOME": self.home}
        self.process = subprocess.Popen(shlex.split(command.format(port=port)), env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
        for _ in range(1_200):
            if self.process.poll() is not None:
                sys.exit(f"the server ended: {command}")
            try:
                if self.ask("GET", "/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"the server does not answer: {command}")

    def ask(self, method, path, body=None, limit=120):
        """Status and JSON of one exchange on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def model(self):
        return self.ask("GET", "/v1/models")[1]["data"][0]["id"]

    def memory_mib(self):
        """Resident memory (Linux)."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
