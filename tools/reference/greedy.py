"""Greedy continuations of prompts under llama.cpp.

    pip install llama-cpp-python numpy
    python tools/reference/greedy.py --model MODEL.gguf --out GOLDEN.json

Each prompt of prompts_greedy.jsonl is continued by the most likely token, 64 times or until the
model ends its text. No chat template, no penalties. `compare_greedy.py` reads the result.
"""

import argparse
import json
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

PROMPTS = Path(__file__).with_name("prompts_greedy.jsonl")


def continuation(llm, vocabulary, prompt, limit):
    """Ids of the most likely tokens, without the one that ends the text."""
    add_bos = api.llama_vocab_get_add_bos(vocabulary)
    llm.reset()
    llm.eval(llm.tokenize(prompt.encode("utf-8"), add_bos=add_bos, special=False))
    tokens, margins = [], []
    while len(tokens) < limit:
        row = np.ctypeslib.as_array(api.llama_get_logits_ith(llm.ctx, -1), (llm.n_vocab(),))
        token = int(row.argmax())
        if api.llama_vocab_is_eog(vocabulary, token):
            break
        first, second = np.sort(np.partition(row, -2)[-2:])[::-1]
        margins.append(round(float(first - second), 4))
        tokens.append(token)
        llm.eval([token])
    return tokens, margins


def bytes_of(vocabulary, tokens):
    """The tokens' bytes, one after the other, nothing stripped."""
    buffer = api.ctypes.create_string_buffer(512)
    pieces = []
    for token in tokens:
        size = api.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
        pieces.append(buffer.raw[:size])
    return b"".join(pieces)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    llm = llama_cpp.Llama(options.model, n_ctx=1024, n_threads=options.threads,
                          n_threads_batch=options.threads, verbose=False)
    vocabulary = api.llama_model_get_vocab(llm.model)
    rows = []
    for line in options.prompts.read_text(encoding="utf-8").splitlines():
        prompt = json.loads(line)["prompt"]
        tokens, margins = continuation(llm, vocabulary, prompt, options.max_tokens)
        first = bytes_of(vocabulary, tokens[:50]).decode("utf-8", "ignore")
        # The lead of the best logit over the next says where two right engines may part.
        rows.append({"prompt": prompt, "tokens": tokens, "first_50": first, "margins": margins})
    facts = {"llama_cpp_python": llama_cpp.__version__, "rows": rows}
    options.out.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
