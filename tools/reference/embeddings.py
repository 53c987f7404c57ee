"""Vectors of `autoglm embed` beside those of `transformers`, and how fast each makes them.

    pip install torch transformers numpy
    python tools/reference/embeddings.py --model FOLDER --texts TEXTS.txt --autoglm target/release/autoglm
    python tools/reference/embeddings.py ... --speed 5 --gguf MODEL.gguf

TEXTS.txt has a text a line. `transformers` runs as `sentence-transformers` runs it: batches of 32 texts sorted by
length and padded, the mean over what is no padding, normalised. With --speed all are run so often, in turn, and the
medians of texts per second are compared; loading is not counted, which for `autoglm` means that what it says of
itself is taken. With --gguf llama.cpp takes part, over the same texts in one call (`llama-cpp-python`). Cosines are
told beside those of GGUF's vectors as well.
"""

import argparse
import json
import statistics
import subprocess
import time

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--autoglm", required=True)
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a text at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", type=int, default=0)
    parser.add_argument("--quantize", action="append", default=[], help="further runs of autoglm")
    parser.add_argument("--gguf")
    return parser.parse_args()


class Transformers:
    def __init__(self, args):
        torch.set_num_threads(args.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(args.model)
        self.model = AutoModel.from_pretrained(args.model, dtype=torch.float32).eval()
        self.tokens = args.tokens

    def embed(self, texts):
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = [None] * len(texts)
        start = time.perf_counter()
        for first in range(0, len(order), 32):
            places = order[first:first + 32]
            batch = self.tokenizer([texts[i] for i in places], padding=True, truncation=True, max_length=self.tokens,
                                   return_tensors="pt")
            with torch.inference_mode():
                states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            means = (states * mask).sum(1) / mask.sum(1)
            for place, vector in zip(places, torch.nn.functional.normalize(means, dim=1).numpy()):
                vectors[place] = vector
        return np.array(vectors), time.perf_counter() - start


class Autoglm:
    def __init__(self, args, quantize=None):
        self.command = [args.autoglm, "embed", "--input", args.texts, "--input-format", "lines", "--model", args.model,
                        "--threads", str(args.threads), "--json"]
        if quantize:
            self.command += ["--quantize", quantize]

    def embed(self, texts):
        ran = subprocess.run(self.command, capture_output=True, text=True, check=True)
        vectors = [json.loads(line)["vector"] for line in ran.stdout.splitlines()]
        return np.array(vectors), json.loads(ran.stderr.splitlines()[-1])["seconds"]


class LlamaCpp:
    def __init__(self, args):
        from llama_cpp import Llama
        self.llama = Llama(args.gguf, embedding=True, n_ctx=2048, n_batch=2048, n_ubatch=2048, n_threads=args.threads,
                           n_threads_batch=args.threads, verbose=False)

    def embed(self, texts):
        start = time.perf_counter()
        vectors = self.llama.embed(texts, normalize=True, truncate=True)
        return np.array(vectors), time.perf_counter() - start


def main():
    args = arguments()
    texts = [line for line in open(args.texts, encoding="utf-8").read().split("\n") if line.strip()]
    engines = {"transformers": Transformers(args), "autoglm": Autoglm(args)}
    engines |= {f"autoglm {kind}": Autoglm(args, kind) for kind in args.quantize}
    if args.gguf:
        engines["llama.cpp"] = LlamaCpp(args)
    wanted, _ = engines["transformers"].embed(texts)
    for name, engine in engines.items():
        vectors, _ = engine.embed(texts)
        assert len(vectors) == len(texts), (name, len(vectors), len(texts))
        cosines = (vectors * wanted).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(wanted, axis=1)
        off = np.abs(vectors - wanted).max() / np.sqrt((wanted ** 2).mean())
        print(f"{name:16} {len(texts)} texts, cosine {cosines.min():.7f} at least, {np.median(cosines):.7f} median; "
              f"numbers off by {off:.1e} of their root mean square at most")
    rates = {name: [] for name in engines}
    for _ in range(args.speed):
        for name, engine in engines.items():
            rates[name].append(len(texts) / engine.embed(texts)[1])
    for name, found in rates.items():
        if found:
            rate = statistics.median(found)
            ratio = rate / statistics.median(rates["transformers"])
            print(f"{name:16} {rate:8.1f} texts/s, {ratio:.2f} times transformers ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    main()
