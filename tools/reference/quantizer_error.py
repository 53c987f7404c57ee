"""Compares our quantiser's error and speed with those of llama.cpp's, on the same numbers.

    pip install llama-cpp-python gguf numpy
    cargo build --release -p autoglm-kernel --example quantize_raw
    python tools/reference/quantizer_error.py --quantizer target/release/examples/quantize_raw
    python tools/reference/quantizer_error.py --quantizer … --model MODEL-f32.gguf

Without a model the numbers are random: normal, Laplace (heavier tails) and normal with a scale of
its own for each row. With one they are its matrices, at most a million numbers each. Errors are
root mean squares over that of the numbers; both quantisers run on one thread.
"""

import argparse
import ctypes
import subprocess
import time
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

FORMATS = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
LIMIT = 1 << 20


def ggml():
    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    chunk = library.ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                      ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return chunk


def theirs(chunk, kind, x):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(x.size // block * size, np.uint8)
    started = time.perf_counter()
    chunk(kind.value, x.ctypes.data, out.ctypes.data, 0, x.size // 256, 256, None)
    return out, x.size / (time.perf_counter() - started) / 1e6


def ours(command, kind, x):
    done = subprocess.run([command, kind.name], input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8), float(done.stderr)


def random_numbers():
    rng = np.random.default_rng(7)
    yield "normal", rng.normal(0, 0.02, LIMIT)
    yield "laplace", rng.laplace(0, 0.02, LIMIT)
    yield "rows", rng.normal(0, 1, (LIMIT // 256, 256)) * rng.lognormal(-4, 1, (LIMIT // 256, 1))


def matrices(path):
    for tensor in gguf.GGUFReader(path).tensors:
        if len(tensor.shape) > 1 and tensor.n_elements >= 256:
            data = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
            yield tensor.name, data[: min(LIMIT, data.size // 256 * 256)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantizer", required=True)
    parser.add_argument("--model")
    options = parser.parse_args()
    numbers = list(matrices(options.model) if options.model else random_numbers())
    chunk = ggml()
    print("format  numbers     llama.cpp      ours   ratio  Mweights/s: llama.cpp  ours")
    for name in FORMATS:
        kind = gguf.GGMLQuantizationType[name]
        rows = []
        for label, x in numbers:
            x = np.ascontiguousarray(x, np.float32).reshape(-1)
            results = [theirs(chunk, kind, x), ours(options.quantizer, kind, x)]
            errors = []
            for data, _ in results:
                off = gguf.quants.dequantize(data, kind).reshape(-1) - x
                errors.append(np.sqrt((off ** 2).mean() / (x ** 2).mean()))
            rows.append((label, *errors, results[0][1], results[1][1]))
        if options.model:
            table = np.array([row[1:] for row in rows])
            worse = int((table[:, 1] > table[:, 0] * 1.0001).sum())
            rows = [(f"{len(rows)} matrices, {worse} worse", *np.median(table, axis=0))]
        for label, a, b, fast_a, fast_b in rows:
            print(f"{name:7} {label:10} {a:10.6f} {b:10.6f} {b / a:7.4f} {fast_a:14.1f} {fast_b:12.1f}")


if __name__ == "__main__":
    main()
