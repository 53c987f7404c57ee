"""`autoglm optimize` beside DSPy (BootstrapFewShot, MIPROv2): the same model through `autoglm serve`, the
same rows, as many calls of the model.

    python3 -m venv VENV && VENV/bin/pip install dspy==3.4.1 optuna==5.0.0
    VENV/bin/python tools/evaluate/dspy_compare.py --home FOLDER --results FOLDER

--home is an AUTOGLM_HOME of its own (its models may be a link to those of another). Every arm of every
task is kept as a file in --results as soon as it is measured; the same command goes on where it was
stopped, and prints the table of what there is (--table prints it and ends). Data comes from AUTOGLM_DATA,
or `../shared/data`; tasks and instructions are those of optimize.py.

What is held equal. Both see the first --train rows of the training file (shuffled by --seed) and the same
--limit test rows, which nothing else looks at. Caches of DSPy and of answers in the server are off; calls
are counted at the server. DSPy's program is one prediction with the answer's type Literal[the labels]. Its
format is the one of ChatAdapter, JSONAdapter, XMLAdapter and a plain one for models that only continue text
with which the program without examples is right most often on --format-rows of the training rows; those
calls count as DSPy's. An answer that cannot be read is wrong. BootstrapFewShot has DSPy's own settings but
for the number of examples (--demos, so that prompts fit a small model); MIPROv2 too, with `auto="light"`,
and writes instructions with the same model. `autoglm optimize` then gets as many calls as the DSPy arm took,
as its cap; where that is less than it can do anything with, the task stays as it is written.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Literal

from optimize import BAD, ROOT, TASKS, autoglm, parts, rows, task_file

ARMS = ("bootstrap", "mipro")
ROUNDS = 10_000


def write_lines(path, found):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in found), encoding="utf-8")


def gold(row):
    return str(row.get("label", row.get("answer")))


def data(options, name):
    """Rows to learn from and rows to test on."""
    train, test = parts(name, options.limit)
    random.Random(options.seed).shuffle(train)
    return train[:options.train], test


class Server:
    """`autoglm serve` with one model and no cache of answers."""

    def __init__(self, options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [options.autoglm, "serve", "-m", options.model, "--answer-cache", "0", "--listen",
                   self.address.removeprefix("http://"), "--threads", str(options.threads)]
        home = dict(os.environ, AUTOGLM_HOME=str(options.home))
        self.process = subprocess.Popen(command, env=home, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.address + "/health/ready").read()
                return
            if self.process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended")
            time.sleep(0.1)
        raise SystemExit("the server does not answer")

    def calls(self):
        """Answers that the model was asked for so far."""
        text = urllib.request.urlopen(self.address + "/metrics").read().decode()
        found = re.findall(r'^autoglm_model_calls_total\{[^}]*operation="generate"[^}]*\} (\d+)', text, re.M)
        return sum(map(int, found))

    def end(self):
        self.process.terminate()
        self.process.wait()


def text_model(options, server):
    """A model that continues text, by `/v1/completions`. Of dspy.LM's way with such models it keeps that a
    prompt is the messages one after the other with BEGIN RESPONSE: behind them, but for prompts that end
    with the answer's title: there it would stand between the title and the answer."""
    import dspy

    class TextModel(dspy.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            shown = "\n\n".join([m["content"] for m in messages] if messages else [prompt])
            if not shown.endswith((":", "：")):
                shown += "\n\nBEGIN RESPONSE:"
            fields = {**self.kwargs, **kwargs, "model": options.model, "prompt": shown}
            known = ("model", "prompt", "temperature", "max_tokens", "n", "stop")
            body = json.dumps({key: fields[key] for key in known if fields.get(key) is not None})
            request = urllib.request.Request(server.address + "/v1/completions", body.encode(),
                                             {"content-type": "application/json"})
            return json.load(urllib.request.urlopen(request))

    return TextModel(model=options.model, model_type="text", temperature=0.0,
                     max_tokens=options.max_tokens, cache=False)


def chat_model(options, server):
    import dspy
    return dspy.LM(f"openai/{options.model}", api_base=server.address + "/v1", api_key="none", cache=False,
                   temperature=0.0, max_tokens=options.max_tokens, num_retries=0)


def plain_adapter():
    """A format for models that only continue text: titled lines, the answer's title last. What MIPROv2 has
    written is one text, and is what stands before the next empty line."""
    import dspy
    from dspy.utils.exceptions import AdapterParseError

    def title(name, field):
        about = (field.json_schema_extra or {}).get("desc", "")
        is_title = about and len(about) <= 24 and not about.startswith("$")
        return about if is_title else name.replace("_", " ").capitalize()

    def titled(fields, values):
        return "\n".join(f"{title(name, field)}: {values[name]}" for name, field in fields.items()
                         if name in values)

    class PlainAdapter(dspy.Adapter):
        def format(self, signature, demos, inputs):
            (name, answer), = signature.output_fields.items()
            shown = [signature.instructions]
            if labels := getattr(answer.annotation, "__args__", None):
                shown[0] += f" Possible answers: {', '.join(labels)}."
            for demo in demos:
                shown.append(f"{titled(signature.input_fields, demo)}\n{title(name, answer)}: {demo[name]}")
            shown.append(f"{titled(signature.input_fields, inputs)}\n{title(name, answer)}:")
            return [{"role": "user", "content": "\n\n".join(shown)}]

        def parse(self, signature, completion):
            (name, answer), = signature.output_fields.items()
            labels = getattr(answer.annotation, "__args__", None)
            if labels is None and completion.strip():
                return {name: completion.strip().split("\n\n")[0]}
            first = completion.strip().split("\n")[0].strip().strip(".\"'“”").casefold()
            for label in sorted(labels or (), key=len, reverse=True):
                if first.startswith(label.casefold()):
                    return {name: label}
            raise AdapterParseError(adapter_name="PlainAdapter", signature=signature,
                                    lm_response=completion)

    return PlainAdapter()


def adapters():
    import dspy
    return {"plain": plain_adapter(), "chat": dspy.ChatAdapter(use_json_adapter_fallback=False),
            "json": dspy.JSONAdapter(), "xml": dspy.XMLAdapter()}


class Dspy:
    """DSPy on one task."""

    def __init__(self, options, server, name, start, train, test):
        import dspy
        self.dspy, self.options, self.server = dspy, options, server
        _, _, language, instruction, title, answer = TASKS[name]
        labels = tuple(sorted({gold(row) for row in train + test}))
        instruction = BAD[language] if start == "bad" else instruction
        fields = {"text": (str, dspy.InputField(desc=title)),
                  "answer": (Literal[labels], dspy.OutputField(desc=answer))}
        self.signature = dspy.Signature(fields, instruction)
        example = lambda row: dspy.Example(text=row["text"], answer=gold(row)).with_inputs("text")
        self.train, self.test = [example(r) for r in train], [example(r) for r in test]
        self.lm = (chat_model if options.chat else text_model)(options, server)
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)

    def right(self, program, examples):
        """1 where the program is right; an answer that cannot be read, or a prompt that has no room, is
        wrong."""
        from concurrent.futures import ThreadPoolExecutor

        def one(example):
            try:
                with self.dspy.context(lm=self.lm, adapter=self.adapter):
                    return int(program(text=example.text).answer == example.answer)
            except Exception:
                return 0

        with ThreadPoolExecutor(self.options.parallel) as pool:
            return list(pool.map(one, examples))

    def choose_format(self):
        """The format with which the program without examples is right most often."""
        program = self.dspy.Predict(self.signature)
        examples = self.train[-self.options.format_rows:]
        scores = {}
        for name, adapter in adapters().items():
            self.adapter = adapter
            scores[name] = statistics.mean(self.right(program, examples))
        best = max(scores, key=scores.get)
        self.adapter = adapters()[best]
        return best, scores

    def compile(self, arm):
        dspy, options = self.dspy, self.options
        metric = lambda example, found, trace=None: example.answer == getattr(found, "answer", None)
        program = dspy.Predict(self.signature)
        errors = 1_000_000
        with dspy.context(lm=self.lm, adapter=self.adapter):
            if arm == "bootstrap":
                teleprompter = dspy.BootstrapFewShot(metric=metric, max_errors=errors,
                                                     max_bootstrapped_demos=options.demos,
                                                     max_labeled_demos=4 * options.demos)
                return teleprompter.compile(program, trainset=self.train)
            writer = self.lm.copy(max_tokens=options.instruction_tokens)
            teleprompter = dspy.MIPROv2(metric=metric, prompt_model=writer, task_model=self.lm, auto="light",
                                        max_bootstrapped_demos=options.demos,
                                        max_labeled_demos=options.demos, max_errors=errors,
                                        num_threads=options.parallel, seed=options.seed)
            return teleprompter.compile(program, trainset=self.train)


def dspy_arm(options, server, name, start, arm):
    train, test = data(options, name)
    before, begun = server.calls(), time.time()
    work = Dspy(options, server, name, start, train, test)
    chosen, scores = work.choose_format()
    program = None
    failed = None
    try:
        program = work.compile(arm)
    except Exception as error:  # then the program as it was written stays
        failed = f"{type(error).__name__}: {str(error)[:300]}"
    calls, seconds = server.calls() - before, time.time() - begun
    program = program or work.dspy.Predict(work.signature)
    predictor = program.predictors()[0]
    return {"calls": calls, "seconds": seconds, "format": chosen, "formats": scores, "failed": failed,
            "instruction": predictor.signature.instructions, "demos": len(predictor.demos),
            "right": work.right(program, work.test)}


def autoglm_arm(options, name, start, calls):
    """A search with so many calls, and its test by what is live then."""
    train, test = data(options, name)
    with tempfile.TemporaryDirectory() as folder:
        files = {part: Path(folder, part + ".jsonl") for part in ("train", "test", "out")}
        write_lines(files["train"], train)
        write_lines(files["test"], [{"text": r["text"], "label": gold(r)} for r in test])
        task = Path(folder, "task.toml")
        # A task of its own for each search, so that none starts from what another found.
        text = task_file(name, start, train, test)
        task.write_text(re.sub(r'^name = .*', f'name = "{name}-{start}-{calls}"', text), encoding="utf-8")
        begun, found, refused = time.time(), None, None
        model = ["--model", options.model, "--threads", options.threads]
        if calls:
            try:
                report = autoglm(options, "optimize", task, "--data", files["train"], "--budget", calls, "--seed",
                                 options.seed, "--strategy", "none", *model)
                found = report["found"]
            except SystemExit as error:
                if "does not suffice" not in str(error):
                    raise
                refused = str(error).splitlines()[-1]
        seconds = time.time() - begun
        promoted = found is not None and found["decision"] == "promoted"
        strategy = found["version"] if promoted else "none"
        autoglm(options, "eval", task, "--data", files["test"], "--strategy", strategy, "--output",
                files["out"], *model)
        answers = rows(files["out"])
        right = [int(a.get("answer") == gold(t)) for a, t in zip(answers, test, strict=True)]
        return {"calls": report["spent"]["calls"] if calls and not refused else 0, "seconds": seconds,
                "decision": found["decision"] if found else refused or "nothing found", "right": right,
                "changes": found["changes"] if promoted else []}


def kept(options, name, start, arm, measure):
    """The result of an arm, measured where there is none."""
    path = options.results / f"{name}-{start}-{arm}.json"
    settings = {key: getattr(options, key) for key in ("model", "seed", "train", "limit", "demos")}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["settings"] != settings:
            raise SystemExit(f"{path} was measured with {found['settings']}, not {settings}")
        return found
    begun = time.time()
    found = {"settings": settings, **measure(), "all_seconds": time.time() - begun}
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    accuracy = statistics.mean(found["right"])
    print(f"{name} {start} {arm}: {accuracy:.3f}, {found['calls']} calls, {found['all_seconds']:.0f} s",
          flush=True)
    return found


def paired(first, second):
    """Second less first with its 95 % interval by the paired bootstrap."""
    differences = [b - a for a, b in zip(first, second, strict=True)]
    chance = random.Random(1)
    means = sorted(statistics.fmean(chance.choices(differences, k=len(differences)))
                   for _ in range(ROUNDS))
    return statistics.fmean(differences), means[int(0.025 * ROUNDS)], means[int(0.975 * ROUNDS)]


def print_table(options):
    print("| task | start | as written | DSPy | its format | calls | DSPy: test | autoglm, as many calls: test | "
          "autoglm less DSPy, 95 % interval |")
    print("|---|---|---|---|---|---|---|---|---|")
    totals = {}
    for name in options.tasks:
        for start in options.starts:
            load = lambda arm: options.results / f"{name}-{start}-{arm}.json"
            for arm in options.arms:
                pair = load(f"dspy-{arm}"), load(f"autoglm-{arm}"), load("written")
                if not all(path.exists() for path in pair):
                    continue
                dspy, ours, written = (json.loads(path.read_text(encoding="utf-8")) for path in pair)
                gain, low, high = paired(dspy["right"], ours["right"])
                mean = lambda found: statistics.mean(found["right"])
                print(f"| {name} ({len(ours['right'])}) | {start} | {mean(written):.3f} | {arm} | "
                      f"{dspy['format']} | {dspy['calls']} | {mean(dspy):.3f}{'*' if dspy['failed'] else ''} | {mean(ours):.3f} | "
                      f"{gain:+.3f}, {low:+.3f} to {high:+.3f} |")
                totals.setdefault((start, arm), []).append((gain, low, high))
    print("\n* DSPy ended with an error, and its program stayed as it was written")
    for (start, arm), found in totals.items():
        better = sum(low > 0 for _, low, _ in found)
        worse = sum(high < 0 for _, _, high in found)
        print(f"\n{start}, {arm}: autoglm surely better on {better} of {len(found)}, surely worse on {worse}; "
              f"median difference {statistics.median(g for g, _, _ in found):+.3f}")


def measure_all(options):
    server = None
    try:
        for name in options.tasks:
            for start in options.starts:
                kept(options, name, start, "written", lambda: autoglm_arm(options, name, start, 0))
                for arm in options.arms:
                    missing = not (options.results / f"{name}-{start}-dspy-{arm}.json").exists()
                    if missing and server is None:
                        server = Server(options)
                    found = kept(options, name, start, f"dspy-{arm}",
                                 lambda: dspy_arm(options, server, name, start, arm))
                    kept(options, name, start, f"autoglm-{arm}",
                         lambda: autoglm_arm(options, name, start, found["calls"]))
    finally:
        if server is not None:
            server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    parser.add_argument("--autoglm", default=str(ROOT / "target/release/autoglm"))
    parser.add_argument("--home", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--model", default="gemma-3-270m-q4_k_m")
    parser.add_argument("--chat", action="store_true", help="the model has a chat template, and is asked by it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=8, help="requests at once")
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--limit", type=int, default=200, help="test rows")
    parser.add_argument("--format-rows", type=int, default=24)
    parser.add_argument("--demos", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=24, help="of an answer")
    parser.add_argument("--instruction-tokens", type=int, default=200, help="of what MIPROv2 has written")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", type=words, default=list(TASKS))
    parser.add_argument("--starts", type=words, default=["plain", "bad"])
    parser.add_argument("--arms", type=words, default=list(ARMS))
    parser.add_argument("--table", action="store_true", help="print what there is and end")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    # Neither DSPy's lines on each answer nor its list of prices is wanted.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    logging.disable(logging.ERROR)
    if not options.table:
        measure_all(options)
    print_table(options)


if __name__ == "__main__":
    main()
