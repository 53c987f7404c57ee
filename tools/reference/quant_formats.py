"""Writes golden blocks of every quantised format, read by the independent Python package `gguf`.

Usage: python tools/reference/quant_formats.py > crates/autoglm-kernel/fixtures/quant_formats.txt

Each line is a format's name, the bytes of some blocks and the bits of the single-precision values
they stand for, both in hexadecimal. The formats that the package can write are quantised from random numbers; the K formats are random
bytes with a finite scale.
"""

import gguf
import numpy as np

BLOCKS = 3
WRITABLE = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# Where the half-precision scales of a block are.
READABLE = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_block(rng, name):
    """A block of random bytes whose half-precision scales are ordinary numbers."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    block = rng.integers(0, 256, size, dtype=np.uint8)
    for offset in READABLE[name]:
        scale = np.float16(rng.uniform(-0.02, 0.02))
        block[offset : offset + 2] = np.frombuffer(scale.tobytes(), np.uint8)
    return block


def entry(rng, name):
    """A line: the bytes of some blocks and the values that the package reads from them."""
    kind = gguf.GGMLQuantizationType[name]
    if name in WRITABLE:
        length = max(gguf.GGML_QUANT_SIZES[kind][0], 16)
        numbers = rng.normal(0, 0.05, BLOCKS * length).astype(np.float32)
        data = gguf.quants.quantize(numbers, kind)
    else:
        data = np.concatenate([random_block(rng, name) for _ in range(BLOCKS)])
    values = gguf.quants.dequantize(data, kind).astype(np.float32)
    return f"{name} {data.tobytes().hex()} {values.tobytes().hex()}"


def main():
    rng = np.random.default_rng(20)
    for name in [*WRITABLE, *READABLE]:
        print(entry(rng, name))


if __name__ == "__main__":
    main()
