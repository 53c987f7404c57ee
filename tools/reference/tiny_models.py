"""Writes tiny models with random weights and the logits that llama.cpp gives for them.

    pip install llama-cpp-python gguf numpy
    python tools/reference/tiny_models.py crates/autoglm-model/fixtures
    python tools/reference/tiny_models.py --sensitivity /tmp/tiny

For each model three files are written:

    tiny-NAME.gguf          the weights, with a small vocabulary
    tiny-NAME.json          the tokens, the shape of the logits, how far llama.cpp is from itself
    tiny-NAME.logits.bin    the logits of every position, [tokens, vocabulary], little-endian f32

The logits come from f32 weights, an f32 cache and attention without the fused kernel, so that
they are exact to rounding; where a model is quantised, its weights are first turned back into
f32, so that they hold what any correct engine must come near. `"deviation"` in the JSON says how
far llama.cpp's own logits move with an f16 cache, and with the quantised weights as they are
(it then quantises activations too, as every fast engine does).

With --sensitivity nothing is kept but a table: how far the logits move when one setting of a
model is changed. Each must move them far more than rounding does, or the golden numbers would
not notice that mistake in an engine.
"""

import argparse
import ctypes
import json
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from llama_cpp import llama_cpp as api

TOKENS = 40
VOCABULARY = 300


class Shape:
    """Sizes in the letters of the project's legend, and what else an architecture is told."""

    def __init__(self, name, arch, **sizes):
        self.name, self.arch = name, arch
        self.fused = self.biased = False
        self.rotated = sizes.get("D")
        self.__dict__.update(sizes)


LLAMA = Shape("llama", "llama", layers=4, C=32, H=4, G=2, D=16, F=64, eps=1e-5, base=10_000.0,
              tied=False, seed=11, peak=1.6)
# Seven layers: the sixth attends to everything, the seventh is again a window of eight tokens.
GEMMA3 = Shape("gemma3", "gemma3", layers=7, C=32, H=2, G=1, D=16, F=48, eps=1e-6,
               base=1_000_000.0, window=8, tied=True, seed=12, peak=1.6)
# A width of 256 is the least that K-quants have blocks for.
MIXED = Shape("llama-mixed", "llama", layers=3, C=256, H=2, G=1, D=32, F=32, eps=1e-5,
              base=10_000.0, tied=True, seed=13, peak=0.8)
# The rotated dimensions are half of a head in the two classes of GLM; bases are small enough that
# every pair turns noticeably within the tokens of the test.
CHATGLM = Shape("chatglm", "chatglm", layers=2, C=64, H=4, G=2, D=16, F=64, eps=1e-2, base=500.0,
                rotated=8, fused=True, tied=False, seed=14, peak=1.4)
GLM4 = Shape("glm4", "glm4", layers=2, C=48, H=3, G=1, D=16, F=64, eps=1e-2, base=500.0,
             rotated=8, biased=True, tied=False, seed=15, peak=1.4)
QWEN2 = Shape("qwen2", "qwen2", layers=2, C=48, H=3, G=1, D=16, F=64, eps=1e-2, base=500.0,
              biased=True, tied=True, seed=16, peak=1.4)
QWEN3 = Shape("qwen3", "qwen3", layers=2, C=48, H=4, G=2, D=32, F=64, eps=1e-2, base=500.0,
              tied=True, seed=17, peak=1.4)
MODELS = [LLAMA, GEMMA3, MIXED, CHATGLM, GLM4, QWEN2, QWEN3]

# The formats of the mixed model, layer by layer: rows of C weights, then rows of H·D and F.
WIDE = ["attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"]
MIXED_WIDE = [
    [Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q4_0, Type.Q4_1],
    [Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K],
    [Type.F16, Type.BF16, Type.F32, Type.Q6_K, Type.Q5_0],
]
MIXED_NARROW = [(Type.Q5_1, Type.Q8_0), (Type.Q4_0, Type.Q5_0), (Type.Q4_1, Type.BF16)]


def format_of(shape, name):
    """The number format of a tensor."""
    parts = name.split(".")
    if shape is not MIXED or "norm" in name:
        return Type.F32
    if name == "token_embd.weight":
        return Type.Q8_0
    layer, kind = int(parts[1]), parts[2]
    if kind in WIDE:
        return MIXED_WIDE[layer][WIDE.index(kind)]
    return MIXED_NARROW[layer][0 if kind == "attn_output" else 1]


def tensor_shapes(shape):
    """Every tensor with its [rows, columns], in file order; norms have columns alone."""
    s = shape
    yield "token_embd.weight", (VOCABULARY, s.C)
    yield "output_norm.weight", (s.C,)
    if not s.tied:
        yield "output.weight", (VOCABULARY, s.C)
    for i in range(s.layers):
        block = {
            "attn_norm": (s.C,), "attn_q": (s.H * s.D, s.C), "attn_k": (s.G * s.D, s.C),
            "attn_v": (s.G * s.D, s.C), "attn_output": (s.C, s.H * s.D), "ffn_norm": (s.C,),
            "ffn_gate": (s.F, s.C), "ffn_up": (s.F, s.C), "ffn_down": (s.C, s.F),
        }
        if s.arch in ("gemma3", "qwen3"):
            block |= {"attn_q_norm": (s.D,), "attn_k_norm": (s.D,)}
        if s.arch in ("gemma3", "glm4"):
            block |= {"post_attention_norm": (s.C,), "post_ffw_norm": (s.C,)}
        if s.arch in ("chatglm", "glm4"):
            block["ffn_up"] = (2 * s.F, s.C)  # gate, then up
            del block["ffn_gate"]
        if s.fused:
            rows = sum(block.pop(f"attn_{part}")[0] for part in "qkv")
            block["attn_qkv"] = (rows, s.C)
            yield f"blk.{i}.attn_qkv.bias", (rows,)
        for kind, size in block.items():
            yield f"blk.{i}.{kind}.weight", size
            if s.biased and kind in ("attn_q", "attn_k", "attn_v"):
                yield f"blk.{i}.{kind}.bias", (size[0],)


def gain_of(shape, name):
    """Standard deviation of a matrix's outputs for inputs of standard deviation one.

    Queries and keys are drawn wide so that attention is peaked and an error in positions or
    windows is seen, less so in the mixed model, where peaks would magnify the rounding of
    activations; values and outputs so that each block adds about as much as it is given.
    """
    kind = name.split(".")[-2]
    return {"attn_q": shape.peak, "attn_qkv": shape.peak, "attn_k": shape.peak, "attn_v": 1.5, "attn_output": 1.5, "ffn_down": 2.0,
            "output": 2.5}.get(kind, 1.0)


def draw(shape, rng, name, size):
    """Random weights of one tensor."""
    if name.endswith("bias"):
        return (0.3 * rng.standard_normal(size)).astype(np.float32)
    if "norm" in name:
        wide = 1.5 if name.split(".")[-2] in ("attn_q_norm", "attn_k_norm") else 1.0
        return (wide * rng.uniform(0.6, 1.4, size)).astype(np.float32)
    scale = gain_of(shape, name) / np.sqrt(size[-1])
    if name == "token_embd.weight":
        scale = 2.5 / np.sqrt(shape.C) if shape.tied else 1.0
    return (scale * rng.standard_normal(size)).astype(np.float32)


def random_k_quant(rng, fmt, size, scale):
    """Blocks of 256 weights with every bit drawn, scaled to a standard deviation of `scale`.

    The package has no quantizer for these formats. A weight is d·s·q - e·m in Q4_K and Q5_K and
    d·s·(q - 32) in Q6_K, with q, s and m drawn from all their values.
    """
    block_len, block_bytes = GGML_QUANT_SIZES[fmt]
    data = rng.integers(0, 256, (size[0], size[1] // block_len, block_bytes), dtype=np.uint8)
    span = {Type.Q4_K: 15, Type.Q5_K: 31}.get(fmt)
    if span:  # d and e stand first; e such that the mean is near zero
        deviation = np.sqrt(((np.arange(64)[:, None] * (np.arange(span + 1) - span / 2)) ** 2).mean()
                            + (span / 2 * np.arange(64)).var())
        d = np.float16(scale / deviation)
        e = np.float16(d * span / 2)
        data[..., 0:2] = np.frombuffer(d.tobytes(), np.uint8)
        data[..., 2:4] = np.frombuffer(e.tobytes(), np.uint8)
    else:
        deviation = np.sqrt((np.arange(-128, 128) ** 2).mean() * ((np.arange(64) - 32) ** 2).mean())
        d = np.float16(scale / deviation)
        data[..., -2:] = np.frombuffer(d.tobytes(), np.uint8)
    return data.reshape(size[0], -1)


def make_tensors(shape):
    """Every tensor as (name, format, bytes in that format, the same as f32)."""
    rng = np.random.default_rng(shape.seed)
    for name, size in tensor_shapes(shape):
        fmt = format_of(shape, name)
        if fmt in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
            data = random_k_quant(rng, fmt, size, gain_of(shape, name) / np.sqrt(size[-1]))
        else:
            data = quantize(draw(shape, rng, name, size), fmt)
        yield name, fmt, data, dequantize(data, fmt).reshape(size).astype(np.float32)


def byte_alphabet():
    """The 256 byte tokens of byte-level BPE, in GPT-2's printable alphabet."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = iter(range(0x100, 0x200))
    return [chr(b) if b in printable else chr(next(rest)) for b in range(256)]


def add_byte_bpe(writer):
    """Two control tokens, the byte tokens and 42 merged pairs."""
    pairs = [(a, b) for a in "hrtnsld" for b in "eaiouy"]
    tokens = ["<|begin|>", "<|end|>"] + byte_alphabet() + [a + b for a, b in pairs]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    writer.add_token_merges([f"{a} {b}" for a, b in pairs])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def add_sentence_pieces(writer):
    """Control tokens, the byte tokens and 40 pieces, in the order of a SentencePiece file."""
    letters = list("\u2581etaoinshrdlucmfwygpb,.") + ["\u2581t", "he", "in", "er", "an", "re"]
    pieces = letters + ["\u2581the", "on", "at", "en", "nd", "ti", "es", "or", "te", "of", "is"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNKNOWN]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(pieces)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    # A merged piece outranks the letters that it is made of.
    scores = [0.0] * 260 + [-100.0 - i if len(p) == 1 else -1.0 * i for i, p in enumerate(pieces)]
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def write(shape, path, exact, **changes):
    """Writes a model; `exact` turns every weight into f32, `changes` override settings."""
    s = Shape(**{**vars(shape), **changes})
    writer = gguf.GGUFWriter(str(path), s.arch)
    writer.add_name(f"tiny-{s.name}")
    writer.add_context_length(128)
    writer.add_embedding_length(s.C)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.F)
    writer.add_head_count(s.H)
    writer.add_head_count_kv(s.G)
    writer.add_key_length(s.D)
    writer.add_value_length(s.D)
    writer.add_layer_norm_rms_eps(s.eps)
    writer.add_rope_freq_base(s.base)
    if s.arch == "gemma3":
        writer.add_sliding_window(s.window)
        add_sentence_pieces(writer)
    else:
        writer.add_rope_dimension_count(s.rotated)
        writer.add_vocab_size(VOCABULARY)
        add_byte_bpe(writer)
    for name, fmt, data, values in make_tensors(shape):
        if exact or fmt == Type.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, data, raw_dtype=fmt)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits_of(path, tokens, cache=0):
    """llama.cpp's logits of every position, [T, V]; `cache` is 0 for f32 and 1 for f16."""
    params = api.llama_model_default_params()
    params.use_extra_bufts = False  # no repacked formats: the plain definition
    model = api.llama_model_load_from_file(str(path).encode(), params)
    context = api.llama_context_default_params()
    context.n_ctx = context.n_batch = context.n_ubatch = 128
    context.type_k = context.type_v = cache
    context.flash_attn_type = 0
    context.n_threads = context.n_threads_batch = 1
    ctx = api.llama_init_from_model(model, context)
    batch = api.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i] = token, i
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
    if api.llama_decode(ctx, batch) != 0:
        raise RuntimeError(f"llama.cpp cannot evaluate {path}")
    rows = api.llama_get_logits(ctx)
    result = np.ctypeslib.as_array(rows, shape=(len(tokens), VOCABULARY)).copy()
    api.llama_batch_free(batch)
    api.llama_free(ctx)
    api.llama_model_free(model)
    return result


def tokens_of(shape):
    """A start token where the model wants one, then tokens drawn from all of the vocabulary."""
    rng = np.random.default_rng(shape.seed + 100)
    drawn = [int(t) for t in rng.integers(4, VOCABULARY, TOKENS)]
    return [2] + drawn[1:] if shape.arch == "gemma3" else drawn


def deviation(logits, golden):
    """Largest and root-mean-square difference."""
    off = np.abs(logits.astype(np.float64) - golden)
    return {"largest": float(f"{off.max():.2e}"), "rms": float(f"{np.sqrt((off ** 2).mean()):.2e}")}


def make(shape, folder):
    """Writes one model's three files and prints what they hold."""
    tokens = tokens_of(shape)
    path = folder / f"tiny-{shape.name}.gguf"
    write(shape, path, exact=False)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / "exact.gguf"
        write(shape, exact, exact=True)
        golden = logits_of(exact, tokens)
        f16_cache = deviation(logits_of(exact, tokens, cache=1), golden)
    as_is = deviation(logits_of(path, tokens), golden)
    golden.astype("<f4").tofile(folder / f"tiny-{shape.name}.logits.bin")
    facts = {"tokens": tokens, "shape": list(golden.shape),
             "deviation": {"f16_cache": f16_cache, "weights_as_they_are": as_is},
             "llama_cpp_python": llama_cpp.__version__}
    (folder / f"tiny-{shape.name}.json").write_text(json.dumps(facts) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes, logits {golden.std():.2f} standard deviation,"
          f" off by {f16_cache} with an f16 cache, {as_is} as it is")


def sensitivity(folder):
    """Prints how far the logits move when one setting is changed."""
    cases = [(LLAMA, "base", 9_000.0), (LLAMA, "eps", 1e-2), (GEMMA3, "window", 9),
             (GEMMA3, "window", 7), (GEMMA3, "window", 64), (GEMMA3, "base", 10_000.0),
             (GEMMA3, "base", 900_000.0), (MIXED, "base", 9_000.0), (CHATGLM, "rotated", 16)]
    cases += [(shape, setting, value) for shape in (CHATGLM, GLM4, QWEN2, QWEN3)
              for setting, value in [("base", 450.0), ("eps", 1e-5)]]
    for shape, setting, value in cases:
        for changes, name in [({}, "as-is"), ({setting: value}, "changed")]:
            write(shape, folder / f"{name}.gguf", exact=True, **changes)
        tokens = tokens_of(shape)
        moved = np.abs(logits_of(folder / "changed.gguf", tokens)
                       - logits_of(folder / "as-is.gguf", tokens)).max()
        print(f"{shape.name:12} {setting} = {value}: {moved:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sensitivity", action="store_true")
    options = parser.parse_args()
    silence = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(silence, ctypes.c_void_p(0))
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.sensitivity:
        sensitivity(options.folder)
    else:
        for shape in MODELS:
            make(shape, options.folder)


if __name__ == "__main__":
    main()
