"""AutoGLM beside its peers: the same files, the same threads, in turns.

    python benchmarks/compare.py --all --models FOLDER --peer llama.cpp=PYTHON \\
        --peer ik_llama.cpp=PYTHON --peer openvino=PYTHON --results results.json

One process at a time runs one engine on one model: it loads, warms up and measures every kind of
work that is asked of this model. A round does so for every engine; the next round goes through
them backwards. Speeds are medians over the rounds, ratios are medians of the ratios within rounds.

Everything that was measured is in the file of --results at once; a run that was interrupted, or
ended by --seconds, goes on where it stopped. The table goes to standard output.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time
import tomllib

import report
from scoring import Scoring

HERE = pathlib.Path(__file__).parent
PEERS = {
    "llama.cpp": "llama_cpp_peer.py",
    "ik_llama.cpp": "llama_cpp_peer.py",
    "openvino": "openvino_peer.py",
    "llama.cpp-server": "llama_cpp_server_peer.py",
}
OURS = "autoglm"
# The exit code of a peer that does not read the model's file.
UNREAD = 3


def keep_busy():
    """Occupies one core for ever."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    while True:
        pass


def named_python(text):
    """NAME=PYTHON of --peer."""
    name, _, python = text.partition("=")
    if name not in PEERS or not python:
        raise argparse.ArgumentTypeError(f"want NAME=PYTHON with NAME of {', '.join(PEERS)}")
    return name, python


def model_path(options, model):
    """The file of a model of cases.toml."""
    if " " in model:
        shape, kind = model.split(" ")
        path = options.models / f"{shape}-{options.arch}-{kind}.gguf"
        if not path.exists():
            raise SystemExit(f"there is no {path}; make_models.py makes it")
        return path
    command = [options.autoglm, "model", "info", model, "--json"]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return pathlib.Path(json.loads(shown.stdout)["path"])


def our_command(options, path, works):
    """`autoglm model bench` for these kinds of work."""
    command = [options.autoglm, "model", "bench", str(path), "--json"]
    for name, size in sorted({(name, work[name]) for work in works
                              for name in ("prefix", "clients") if name in work}):
        command += [f"--{name}", str(size)]
    for work in works:
        match work["work"]:
            case "prefill":
                command += ["--prefill", str(work["tokens"])]
            case "decode":
                command += ["--depth", str(work["depth"])]
            case "sequences":
                command += ["--sequences", str(work["sequences"])]
    return command


def run(command, options):
    """What a command prints, and its exit code; if it failed, the end of its messages is told."""
    command = command + ["--threads", str(options.threads), "--decode", str(options.decode),
                         "--repetitions", str(options.repetitions)]
    # A peer that aborts would start a debugger.
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    if done.returncode != 0:
        end = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        print(f"  {command[0]} ended with {done.returncode}:", *end, sep="\n    ", file=sys.stderr)
    return done.stdout.decode(), done.returncode


def measure_ours(options, path, works, scorings):
    of_bench = [work for work in works if work["work"] != "score"]
    found = {"rows": []}
    if of_bench:
        printed, code = run(our_command(options, path, of_bench), options)
        found = json.loads(printed) if code == 0 else found
    for work in works:
        if work["work"] == "score":
            found["rows"].append(scorings(path, work["records"]).row(work))
    return found


class Scorings:
    """The scoring of a number of records with a model, made once."""

    def __init__(self, options):
        self.options = options
        self.made = {}

    def __call__(self, path, records):
        if (path, records) not in self.made:
            self.made[path, records] = Scoring(self.options, path, records)
        return self.made[path, records]


def rows_in(printed):
    """The rows that a peer has printed; its library may print other things between."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith('{"engine"')]


def measure_peer(options, engine, path, works):
    """The rows of a peer. One that dies over a kind of work, as some do over flash attention on
    some machines, is asked for it again without that, and started anew for the rest."""
    rows = []
    script = str(HERE / "peers" / PEERS[engine])
    while works:
        command = [options.peers[engine], script, str(path), "--works"]
        printed, code = run([*command, json.dumps(works)], options)
        done = rows_in(printed)
        rows += done
        if code in (0, UNREAD):
            break
        failed, works = works[len(done)], works[len(done) + 1 :]
        if PEERS[engine] == "llama_cpp_peer.py":
            printed, _ = run([*command, json.dumps([failed]), "--no-flash"], options)
            rows += rows_in(printed)
    return {"rows": rows}


def groups(cases):
    """The kinds of work by model and by whether another process is busy."""
    found = {}
    for case in cases:
        works = found.setdefault((case["model"], case.get("busy", False)), [])
        if case["work"] not in works:
            works.append(case["work"])
    return found


def plan(options, cases):
    """All that is to be measured, in order: round, model, whether busy, engine, works."""
    engines = [OURS, *options.peers]
    for number in range(options.rounds):
        for (model, busy), works in groups(cases).items():
            for engine in engines if number % 2 == 0 else reversed(engines):
                yield {"round": number, "model": model, "busy": busy, "engine": engine}, works


def missing(results, key, works):
    """The kinds of work that were not tried yet."""
    tried = [work for run in results["runs"] if key.items() <= run.items() for work in run["works"]]
    return [work for work in works if work not in tried]


def measure_one(options, key, works, path, scorings):
    """What one engine makes of the works on one model."""
    print(f"round {key['round']}: {key['model']}, {key['engine']}", file=sys.stderr)
    neighbour = multiprocessing.Process(target=keep_busy, daemon=True)
    if key["busy"]:
        neighbour.start()
    try:
        if key["engine"] == OURS:
            return measure_ours(options, path, works, scorings)
        works = [work | {"prompts": scorings(path, work["records"]).prompts()}
                 if work["work"] == "score" else work for work in works]
        return measure_peer(options, key["engine"], path, works)
    finally:
        if key["busy"]:
            neighbour.kill()


def measure_all(options, cases, results):
    """Fills the results; says whether all is there."""
    began = time.monotonic()
    scorings = Scorings(options)
    for key, works in plan(options, cases):
        works = missing(results, key, works)
        if not works:
            continue
        if options.seconds and time.monotonic() - began > options.seconds:
            return False
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        found = measure_one(options, key, works, model_path(options, key["model"]), scorings)
        results["runs"].append(key | {"works": works, "began": started, "found": found})
        options.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return True


def chosen_cases(options):
    """The cases that the options ask for."""
    cases = tomllib.loads(options.cases.read_text(encoding="utf-8"))["case"]
    if options.only:
        cases = [c for c in cases if any(part in report.title(c) for part in options.only)]
    if not options.score_data:
        cases = [case for case in cases if case["work"]["work"] != "score"]
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every case")
    what.add_argument("--only", action="append", help="cases whose title contains this")
    parser.add_argument("--cases", type=pathlib.Path, default=HERE / "cases.toml")
    parser.add_argument("--autoglm", default="target/release/autoglm")
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("."),
                        help="the folder that make_models.py has filled")
    parser.add_argument("--arch", default="chatglm", help="of the files of make_models.py")
    parser.add_argument("--peer", action="append", type=named_python, default=[], dest="peers",
                        metavar="NAME=PYTHON", help=f"a Python that has it: {', '.join(PEERS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3, help="within a process")
    parser.add_argument("--decode", type=int, default=32, help="tokens of one measurement")
    parser.add_argument("--seconds", type=float, help="start nothing after this time")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    score = parser.add_argument_group("scoring records; left out without --score-data")
    score.add_argument("--score-task", default="Classify the sentiment of the movie review as "
                       "positive or negative", help="the words, or a task file")
    score.add_argument("--score-data", help="labelled records")
    score.add_argument("--score-examples", help="labelled records to take two examples each of")
    score.add_argument("--score-labels", nargs="+", default=["positive", "negative"])
    options = parser.parse_args()
    options.peers = dict(options.peers)
    cases = chosen_cases(options)
    results = {"runs": []}
    if options.results.exists():
        results = json.loads(options.results.read_text(encoding="utf-8"))
    finished = measure_all(options, cases, results)
    print(report.table(cases, results, list(options.peers)))
    if not finished:
        print("not finished; the same command goes on", file=sys.stderr)


if __name__ == "__main__":
    main()
