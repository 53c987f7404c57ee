"""Writes GGUF files of random weights in the shapes of GLM models, to measure speed with.

    pip install gguf numpy
    python benchmarks/make_models.py FOLDER                       # what compare.py --all measures
    python benchmarks/make_models.py FOLDER --shape glm-4-9b --type q4_0 --layers 4

Random bytes are filled into the blocks of a format, with scales that give every row the norm 1,
so that activations stay finite; nothing is quantised, and at most a few tensors' pieces are in
memory. The tokenizer has one token a byte and fillers up to the size of the vocabulary.

A type is what `llama-quantize` makes of it: Q6_K for the output head of the 4-bit types, the mix
of Q4_K_M, and other formats where a row is no whole number of blocks of 256.
"""

import argparse
import dataclasses
import pathlib

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Format

PIECE_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a model, in the letters of ARCHITECTURE.md."""

    layers: int
    width: int  # C
    heads: int  # H
    kv_heads: int  # G
    head_width: int  # D
    feed_forward: int  # F
    vocabulary: int  # V
    epsilon: float
    rope_base: float
    fused_qkv: bool


SHAPES = {
    "glm-edge-1.5b": Shape(28, 2048, 16, 4, 128, 6144, 59264, 1e-5, 10000.0, False),
    "glm-4-9b": Shape(40, 4096, 32, 2, 128, 13696, 151552, 1.5625e-7, 5e6, True),
}
TYPES = {
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_k_m": gguf.LlamaFileType.MOSTLY_Q4_K_M,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
}
# What compare.py --all measures.
ALL = [("glm-edge-1.5b", name) for name in TYPES] + [("glm-4-9b", "q4_0")]

# Where a block of a format has halves (offset, factor of the scale), and the standard deviation
# of its values when the scale is 1 and all other bytes are random.
BLOCKS = {
    Format.Q4_0: ([(0, 1.0)], 4.61),
    Format.Q5_0: ([(0, 1.0)], 9.23),
    Format.Q8_0: ([(0, 1.0)], 73.9),
    # The second half scales the minimum that is taken off: with these factors the mean is 0.
    Format.Q4_K: ([(0, 1.0), (2, 7.5)], 258.0),
    Format.Q5_K: ([(0, 1.0), (2, 15.5)], 527.0),
    Format.Q6_K: ([(208, 1.0)], 1367.0),
}
# Where a row is no whole number of blocks.
FALLBACK = {Format.Q4_K: Format.Q5_0, Format.Q5_K: Format.Q5_0, Format.Q6_K: Format.Q8_0}


def block_tensors(shape, arch):
    """Names and shapes `[rows, cols]` of a block's matrices, in the order of a file."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    if arch == "chatglm" and shape.fused_qkv:
        yield "attn_qkv", (queries + 2 * keys, shape.width)
    else:
        yield "attn_q", (queries, shape.width)
        yield "attn_k", (keys, shape.width)
        yield "attn_v", (keys, shape.width)
    yield "attn_output", (shape.width, queries)
    if arch == "chatglm":
        yield "ffn_up", (2 * shape.feed_forward, shape.width)
    else:
        yield "ffn_gate", (shape.feed_forward, shape.width)
        yield "ffn_up", (shape.feed_forward, shape.width)
    yield "ffn_down", (shape.width, shape.feed_forward)


def has_more_bits(layer, layers):
    """The layers to which Q4_K_M gives Q6_K: the first and last eighth, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def format_of(kind, name, layer, layers, cols):
    """The format of a matrix in a file of a type."""
    if kind == "f16":
        return Format.F16
    if kind == "q8_0":
        return Format.Q8_0
    if name == "output":
        wanted = Format.Q6_K
    elif kind == "q4_0":
        wanted = Format.Q4_0
    elif name == "attn_qkv":
        wanted = Format.Q5_K
    elif name in ("attn_v", "ffn_down") and has_more_bits(layer, layers):
        wanted = Format.Q6_K
    else:
        wanted = Format.Q4_K
    return wanted if cols % GGML_QUANT_SIZES[wanted][0] == 0 else FALLBACK[wanted]


def tensors(shape, arch, kind, layers):
    """Name, shape and format of every tensor."""
    width = shape.width

    def matrix(name, rows, cols, layer=0, prefix=""):
        return f"{prefix}{name}.weight", (rows, cols), format_of(kind, name, layer, layers, cols)

    yield matrix("token_embd", shape.vocabulary, width)
    for layer in range(layers):
        prefix = f"blk.{layer}."
        yield f"{prefix}attn_norm.weight", (width,), Format.F32
        for name, (rows, cols) in block_tensors(shape, arch):
            yield matrix(name, rows, cols, layer, prefix)
            if name == "attn_qkv":
                yield f"{prefix}{name}.bias", (rows,), Format.F32
        yield f"{prefix}ffn_norm.weight", (width,), Format.F32
    yield "output_norm.weight", (width,), Format.F32
    yield matrix("output", shape.vocabulary, width)


def random_halves(random, count, deviation):
    """Half floats of either sign with one exponent: no sampling of a distribution is as quick."""
    # Values in ±[1, 2) have a standard deviation of 1.53.
    exponent = max(1, round(np.log2(deviation / 1.53)) + 15)
    bits = random.integers(0, 1 << 16, count, np.uint16)
    return (bits & np.uint16(0x83FF)) | np.uint16(exponent << 10)


def random_blocks(random, count, form, deviation):
    """Random blocks, one a row of bytes, with scales that give the values this deviation."""
    halves, unit = BLOCKS[form]
    size = GGML_QUANT_SIZES[form][1]
    blocks = np.frombuffer(random.bytes(count * size), np.uint8).reshape(count, size).copy()
    for offset, factor in halves:
        half = np.array([factor * deviation / unit], np.float16).view(np.uint8)
        blocks[:, offset : offset + 2] = half
    return blocks


def pieces(name, shape, form, random):
    """The bytes of a tensor, a piece at a time."""
    if form == Format.F32:
        yield (np.zeros if name.endswith(".bias") else np.ones)(shape, np.float32)
        return
    deviation = shape[1] ** -0.5
    block_len, block_bytes = GGML_QUANT_SIZES[form]
    left = shape[0] * shape[1] // block_len
    while left > 0:
        count = min(left, PIECE_BYTES // block_bytes)
        if form == Format.F16:
            yield random_halves(random, count, deviation)
        else:
            yield random_blocks(random, count, form, deviation)
        left -= count


def byte_tokens():
    """The tokens of the 256 bytes in the printable alphabet of byte-level BPE."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(0x100 + place) for place, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def add_tokenizer(writer, arch, vocabulary):
    tokens = byte_tokens() + ["th"]
    tokens += [f"<filler{i}>" for i in range(vocabulary - len(tokens) - 1)] + ["<|endoftext|>"]
    kinds = [gguf.TokenType.NORMAL] * (vocabulary - 1) + [gguf.TokenType.CONTROL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("chatglm-bpe" if arch == "chatglm" else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    # Readers want at least one.
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(vocabulary - 1)
    writer.add_add_bos_token(False)


def add_sizes(writer, shape, arch, layers):
    writer.add_block_count(layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_rope_freq_base(shape.rope_base)
    rotated = shape.head_width // 2 if arch == "chatglm" else shape.head_width
    writer.add_rope_dimension_count(rotated)


def write_model(path, shape, arch, kind, layers):
    """Writes a file, under another name until it is whole."""
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, arch)
    writer.add_name(path.stem)
    writer.add_file_type(TYPES[kind])
    add_sizes(writer, shape, arch, layers)
    add_tokenizer(writer, arch, shape.vocabulary)
    listed = list(tensors(shape, arch, kind, layers))
    for name, size, form in listed:
        block_len, block_bytes = GGML_QUANT_SIZES[form]
        size_bytes = int(np.prod(size)) // block_len * block_bytes
        writer.add_tensor_info(name, size, np.dtype(np.float32), size_bytes, raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    random = np.random.default_rng(1)
    for name, size, form in listed:
        start = file.tell()
        for piece in pieces(name, size, form, random):
            piece.tofile(file)
        writer.write_padding(file, file.tell() - start)
    writer.close()
    unfinished.rename(path)


def file_name(shape, arch, kind, layers):
    """The name of a file, which says all that the file is."""
    shortened = "" if layers is None else f"-{layers}-layers"
    return f"{shape}-{arch}{shortened}-{kind}.gguf"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--type", choices=TYPES, dest="kind")
    parser.add_argument("--arch", choices=["chatglm", "llama"], default="chatglm",
                        help="llama for readers without chatglm: the same sizes, nothing fused")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = [(shape, kind) for shape, kind in ALL
              if options.shape in (None, shape) and options.kind in (None, kind)]
    if options.shape and options.kind:
        wanted = [(options.shape, options.kind)]
    for shape, kind in wanted:
        path = options.folder / file_name(shape, options.arch, kind, options.layers)
        if not path.exists():
            layers = options.layers or SHAPES[shape].layers
            write_model(path, SHAPES[shape], options.arch, kind, layers)
        print(path)


if __name__ == "__main__":
    main()
