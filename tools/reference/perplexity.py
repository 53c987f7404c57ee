"""Perplexity of a text under llama.cpp, as `autoglm perplexity` defines it.

    pip install llama-cpp-python numpy
    python tools/reference/perplexity.py --model MODEL.gguf --text TEXT.txt
    python tools/reference/perplexity.py --model MODEL.gguf --text TEXT.txt --autoglm BINARY
    python tools/reference/perplexity.py --model MODEL-f32.gguf --text TEXT.txt --cache f32

The text is tokenised as a whole, without a start token, and cut into consecutive windows. Each
window is evaluated from an empty cache. Where the model wants a start token, each window begins
with one and then holds `context - 1` tokens of the text, else `context` tokens. Every token of a
window but its first is predicted; the perplexity is the exponential of the mean of their negative
log-probabilities over all windows, the last and shorter one included.

With a file of dequantize.py and --cache f32 llama.cpp rounds neither activations nor cache.
With --autoglm the same file and context are given to that binary too, and the ratio is printed.
Writes one JSON object.
"""

import argparse
import json
import subprocess

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api


def windows_of(tokens, bos, context):
    """Consecutive windows of at most `context` tokens, start tokens included."""
    room = context - len(bos)
    for start in range(0, len(tokens), room):
        yield bos + tokens[start : start + room]


def negative_log_probabilities(llm, window):
    """-log p of every token of the window but its first."""
    llm.reset()
    llm.eval(window)
    logits = llm.scores[: len(window) - 1].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    wanted = logits[np.arange(len(window) - 1), window[1:]]
    return np.log(np.exp(logits).sum(axis=1)) - wanted


def reference(options):
    """Perplexity under llama.cpp, and the number of predicted tokens."""
    cache = {"f16": api.GGML_TYPE_F16, "f32": api.GGML_TYPE_F32}[options.cache]
    llm = llama_cpp.Llama(options.model, n_ctx=options.context, n_batch=options.context,
                          n_ubatch=options.context, n_threads=options.threads,
                          n_threads_batch=options.threads, logits_all=True, type_k=cache,
                          type_v=cache, verbose=False)
    vocabulary = api.llama_model_get_vocab(llm.model)
    bos = [llm.token_bos()] if api.llama_vocab_get_add_bos(vocabulary) else []
    with open(options.text, "rb") as file:
        tokens = llm.tokenize(file.read(), add_bos=False, special=False)
    total, count = 0.0, 0
    for window in windows_of(tokens, bos, options.context):
        if len(window) > 1:
            losses = negative_log_probabilities(llm, window)
            total, count = total + losses.sum(), count + len(losses)
    return {"perplexity": float(np.exp(total / count)), "predicted_tokens": count,
            "text_tokens": len(tokens)}


def ours(options):
    """What the binary says about the same file."""
    command = [options.autoglm, "perplexity", "--model", options.model, "--text", options.text,
               "--context", str(options.context), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", choices=["f16", "f32"], default="f16")
    parser.add_argument("--autoglm", help="binary to compare with")
    options = parser.parse_args()
    result = {"context": options.context, "llama_cpp_python": llama_cpp.__version__,
              "reference": reference(options)}
    if options.autoglm:
        result["autoglm"] = ours(options)
        ratio = result["autoglm"]["perplexity"] / result["reference"]["perplexity"]
        result["difference_percent"] = round(100 * (ratio - 1), 4)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
