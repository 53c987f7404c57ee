"""Compares llama.cpp on GGUF files that `autoglm model quantize` wrote from folders with `transformers`.

    pip install gguf llama-cpp-python numpy
    python tools/reference/folder_gguf.py target/release/autoglm crates/autoglm-model/fixtures/folders

Each folder is copied with a byte-level tokenizer as long as its vocabulary, written as f16, and run
by llama.cpp. Printed is the root mean square of the difference from the folder's golden logits, in
parts of their standard deviation: rounding to f16 is about 1e-3; a class that llama.cpp refuses is
said so.
"""

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as api

import tiny_models


def add_tokenizer(folder, vocabulary):
    """Letters of a byte-level alphabet, then tokens that no text becomes."""
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)] + ["\u0120", "\u010a"]
    texts = (letters + [f"nonsense{i}" for i in range(vocabulary)])[:vocabulary]
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    tokenizer = {
        "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(texts)}, "merges": []},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "decoder": {"type": "ByteLevel"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def check(binary, folder, scratch):
    """One line on a folder."""
    facts = json.loads((folder / "golden.json").read_text())
    golden = np.fromfile(folder / "logits.bin", "<f4").reshape(facts["shape"])
    copy = scratch / folder.name
    shutil.copytree(folder, copy)
    add_tokenizer(copy, golden.shape[1])
    path = scratch / f"{folder.name}.gguf"
    done = subprocess.run([binary, "model", "quantize", copy, path, "--type", "f16"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return f"{folder.name:22} {done.stderr.strip()}"
    tiny_models.VOCABULARY = golden.shape[1]
    try:
        logits = tiny_models.logits_of(path, facts["tokens"], cache=1)
    except (RuntimeError, ValueError) as error:
        return f"{folder.name:22} llama.cpp does not read it: {error}"
    off = np.sqrt(((logits - golden) ** 2).mean()) / golden.std()
    return f"{folder.name:22} {off:.1e}"


def main():
    # Each folder in a process of its own: llama.cpp ends the process on some files.
    if len(sys.argv) == 4:
        silence = api.llama_log_callback(lambda *_: None)
        api.llama_log_set(silence, ctypes.c_void_p(0))
        with tempfile.TemporaryDirectory() as scratch:
            print(check(sys.argv[1], Path(sys.argv[2]) / sys.argv[3], Path(scratch)))
        return
    binary, folders = sys.argv[1:]
    for folder in sorted(path for path in Path(folders).iterdir() if (path / "golden.json").exists()):
        done = subprocess.run([sys.executable, __file__, binary, folders, folder.name],
                              capture_output=True, text=True)
        ended = f"{folder.name:22} llama.cpp ended with {done.returncode}"
        print(done.stdout.strip() if done.returncode == 0 else ended)


if __name__ == "__main__":
    main()
