"""Greedy continuations of prompts under llama.cpp.

    pip install llama-cpp-python numpy
    python tools/reference/greedy.py --model MODEL.gguf --out GOLDEN.json

Each prompt of prompts_greedy.jsonl is continued by the most likely token, 50 times or until the
model ends its text. No chat template, no penalties. `compare_greedy.py` reads the result.

--batch 1, --flash-attention and --cache f32 have llama.cpp compute the same in another way; beside
a result without them they show how far rounding alone moves it.
"""

import argparse
import json
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

PROMPTS = Path(__file__).with_name("prompts_greedy.jsonl")


def continuation(llm, vocabulary, prompt, limit):
    """The most likely tokens without the one that ends the text, their leads and log p."""
    add_bos = api.llama_vocab_get_add_bos(vocabulary)
    llm.reset()
    llm.eval(llm.tokenize(prompt.encode("utf-8"), add_bos=add_bos, special=False))
    tokens, margins, logprobs = [], [], []
    while len(tokens) < limit:
        row = np.ctypeslib.as_array(api.llama_get_logits_ith(llm.ctx, -1), (llm.n_vocab(),))
        token = int(row.argmax())
        if api.llama_vocab_is_eog(vocabulary, token):
            break
        first, second = np.sort(np.partition(row, -2)[-2:])[::-1]
        margins.append(round(float(first - second), 4))
        total = np.exp(row - first).sum(dtype=np.float64)
        logprobs.append(round(-float(np.log(total)), 6))
        tokens.append(token)
        llm.eval([token])
    return {"tokens": tokens, "margins": margins, "logprobs": logprobs}


def load(options):
    """The model, computed as the options say."""
    cache = {"f16": api.GGML_TYPE_F16, "f32": api.GGML_TYPE_F32}[options.cache]
    return llama_cpp.Llama(options.model, n_ctx=1024, n_batch=options.batch,
                           n_ubatch=options.batch, n_threads=options.threads,
                           n_threads_batch=options.threads, flash_attn=options.flash_attention,
                           type_k=cache, type_v=cache, verbose=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--max-tokens", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=512, help="tokens of a prompt at once")
    parser.add_argument("--cache", choices=["f16", "f32"], default="f16")
    parser.add_argument("--flash-attention", action="store_true")
    options = parser.parse_args()
    llm = load(options)
    vocabulary = api.llama_model_get_vocab(llm.model)
    # The lead of the best logit over the next says where two right engines may part.
    lines = options.prompts.read_text(encoding="utf-8").splitlines()
    rows = [{"prompt": prompt, **continuation(llm, vocabulary, prompt, options.max_tokens)}
            for prompt in (json.loads(line)["prompt"] for line in lines)]
    facts = {"llama_cpp_python": llama_cpp.__version__, "rows": rows}
    options.out.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
