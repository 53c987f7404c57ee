"""Writes crates/autoglm-model/fixtures/tiny.gguf with the `gguf` package.

The file has every kind of metadata value and one tensor of every number format that the reader
supports, with a byte-level vocabulary of 300 tokens. Its weights mean nothing: every tensor is
filled by numpy's generator with a seed of its own.

    pip install gguf numpy
    python tools/reference/tiny_gguf.py crates/autoglm-model/fixtures/tiny.gguf
"""

import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import quantize

FORMATS = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# The package has no quantizer for these; random bytes with sane scales are as good to a reader.
K_FORMATS = [Type.Q4_K, Type.Q5_K, Type.Q6_K]
ROWS, COLS = 3, 256


def byte_tokens():
    """The 256 byte tokens of byte-level BPE, in GPT-2's printable alphabet."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            alphabet[byte] = chr(byte)
        else:
            alphabet[byte] = chr(0x100 + extra)
            extra += 1
    return [alphabet[byte] for byte in range(256)]


def add_vocabulary(writer):
    tokens = byte_tokens()
    pairs = [(a, b) for a in "bcdfghj" for b in "aeiouy"]
    merges = [f"{a} {b}" for a, b in pairs]
    tokens += [a + b for a, b in pairs]
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    for special in ["<|start|>", "<|end|>"]:
        tokens.append(special)
        kinds.append(gguf.TokenType.CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}<|start|>{{ m.content }}<|end|>{% endfor %}")


def add_values(writer):
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_uint64("test.u64", 2**63)
    writer.add_int64("test.i64", -(2**62))
    writer.add_float32("test.f32", 0.15625)
    writer.add_float64("test.f64", 1e300)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "鱼 and chips")
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])


def add_tensors(writer):
    for index, kind in enumerate(FORMATS):
        numbers = np.random.default_rng(index).standard_normal((ROWS, COLS), dtype=np.float32)
        writer.add_tensor(f"test.{kind.name}", quantize(numbers, kind), raw_dtype=kind)
    for index, kind in enumerate(K_FORMATS):
        block_len, block_bytes = GGML_QUANT_SIZES[kind]
        random = np.random.default_rng(100 + index)
        shape = (ROWS, COLS // block_len * block_bytes)
        data = random.integers(0, 256, size=shape, dtype=np.uint8)
        writer.add_tensor(f"test.{kind.name}", data, raw_dtype=kind)


def main(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    add_values(writer)
    add_vocabulary(writer)
    add_tensors(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
