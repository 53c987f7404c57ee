"""Records per second of `autoglm eval`, and the very prompts that it scores, for the peers."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

DUMP = pathlib.Path(__file__).parent.parent / "tools" / "reference" / "dump_prompts.py"


class Scoring:
    """A task with labelled records, in a data folder of its own."""

    def __init__(self, options, path, records):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = os.environ | {"AUTOGLM_HOME": self.folder.name}
        self.autoglm = options.autoglm
        self.labels = options.score_labels
        self.has_run = False
        data = pathlib.Path(self.folder.name, "records.jsonl")
        with open(options.score_data, encoding="utf-8") as file:
            data.write_text("".join(list(file)[:records]), encoding="utf-8")
        self.data = str(data)
        # One order of the examples, as the loop of a peer scores a record once.
        self.command = [self.autoglm, "eval", options.score_task, "--data", self.data,
                        "--examples", options.score_examples, "--per-label", "2", "--one-order",
                        "--model", str(path), "--threads", str(options.threads), "--json"]

    def row(self, work):
        """Ours, as a row of `autoglm model bench --json`."""
        done = subprocess.run(self.command, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment)
        self.has_run = True
        rate = json.loads(done.stdout)["records_per_second"]
        return work | {"unit": "records/s", "samples": [rate]}

    def prompts(self):
        """The file of the prompts, made from the first run."""
        if not self.has_run:
            self.row({})
        out = str(pathlib.Path(self.folder.name, "prompts.jsonl"))
        command = [sys.executable, str(DUMP), "--autoglm", self.autoglm, "--run", "1",
                   "--data", self.data, "--out", out]
        for label in self.labels:
            command += ["--option", f" {label}"]
        subprocess.run(command, check=True, env=self.environment)
        return out
