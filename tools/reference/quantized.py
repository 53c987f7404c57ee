"""Writes numbers and the blocks that the Python package `gguf` quantises them to.

    pip install gguf numpy
    python tools/reference/quantized.py > crates/autoglm-kernel/fixtures/quantized.txt

A line is: name of the format, the numbers as single-precision little-endian bytes, the blocks, all
in hexadecimal. The package has no quantiser for the K formats.
"""

import gguf
import numpy as np

FORMATS = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def numbers(rng):
    """Blocks of 32: ordinary, lopsided, far from zero, tiny, all zero, one outlier."""
    outlier = rng.normal(0, 0.01, 32)
    outlier[17] = 3.0
    blocks = [
        rng.normal(0, 0.05, 32),
        rng.normal(0, 0.05, 32),
        np.abs(rng.normal(0, 1, 32)),
        5 + rng.normal(0, 0.1, 32),
        rng.normal(0, 1e-5, 32),
        np.zeros(32),
        outlier,
    ]
    return np.concatenate(blocks).astype(np.float32)


def main():
    rng = np.random.default_rng(21)
    for name in FORMATS:
        x = numbers(rng)
        data = gguf.quants.quantize(x, gguf.GGMLQuantizationType[name])
        print(name, x.tobytes().hex(), data.tobytes().hex())


if __name__ == "__main__":
    main()
