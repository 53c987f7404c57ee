"""Writes tiny models with experts or latent attention, and the logits that llama.cpp gives for them.

    pip install llama-cpp-python gguf numpy
    python tools/reference/tiny_experts.py crates/autoglm-model/fixtures
    python tools/reference/tiny_experts.py --sensitivity /tmp/tiny

The files, and what their numbers are made from, are those of tiny_models.py. Between two experts
whose scores almost tie, rounding decides, and the logits jump; the seeds are such that llama.cpp
makes the same choices with an f16 cache as with an f32 one.
"""

import argparse
import ctypes
import json
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from llama_cpp import llama_cpp as api

from tiny_models import TOKENS, VOCABULARY, add_byte_bpe, deviation, logits_of

SOFTMAX, SIGMOID = 1, 2


class Shape:
    """Sizes in the letters of the project's legend, and what else an architecture is told.

    `dense` layers come first; E experts of width X, of which a row uses `used`.
    """

    def __init__(self, name, arch, **sizes):
        self.name, self.arch = name, arch
        self.__dict__.update(sizes)


EXPERTS = {"dense": 1, "E": 8, "used": 3, "X": 16, "shared": 1, "gate": SIGMOID, "groups": 1,
           "groups_used": 1, "normalise": True, "scale": 1.8, "correct": True}
# Half of each head is rotated; a block that predicts further tokens stands behind the layers.
GLM4MOE = Shape("glm4moe", "glm4moe", layers=3, further=1, C=32, H=4, G=2, D=16, F=48, rotated=8,
                eps=1e-5, base=10_000.0, qk_norm=True, bias=True, q8=[], seed=31, **EXPERTS)
# Groups; no norms of queries and keys, no biases, no norm of the weights.
PLAIN = {"groups": 4, "groups_used": 2, "normalise": False, "scale": 0.7}
GLM4MOE_PLAIN = Shape("glm4moe-plain", "glm4moe", layers=3, further=0, C=32, H=4, G=2, D=16, F=48,
                      rotated=8, eps=1e-5, base=10_000.0, qk_norm=False, bias=False, q8=[],
                      seed=32, **EXPERTS | PLAIN)
# Q: what queries are compressed to; L: the latent width; R, N, V: the rotated part of a head, the
# other one, and its values.
DEEPSEEK2 = Shape("deepseek2", "deepseek2", layers=3, further=0, C=32, H=4, Q=24, L=32, R=16, N=16,
                  V=24, F=48, eps=1e-5, base=10_000.0, joint=False, q8=[], seed=33,
                  **EXPERTS | {"shared": 2, "groups": 4, "groups_used": 2})
# As in older files: one up-projection for keys and values, queries as they are; quantised.
JOINT = {"gate": SOFTMAX, "normalise": False, "scale": 4.0, "correct": False, "X": 32}
DEEPSEEK2_JOINT = Shape("deepseek2-joint", "deepseek2", layers=3, further=0, C=32, H=4, Q=0, L=32,
                        R=16, N=16, V=24, F=48, eps=1e-5, base=10_000.0, joint=True, seed=34,
                        q8=["attn_kv_b", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"],
                        **EXPERTS | JOINT)
MODELS = [GLM4MOE, GLM4MOE_PLAIN, DEEPSEEK2, DEEPSEEK2_JOINT]


def heads(s):
    """The attention tensors of a layer of glm4moe."""
    tensors = {"attn_q.weight": (s.H * s.D, s.C), "attn_k.weight": (s.G * s.D, s.C),
               "attn_v.weight": (s.G * s.D, s.C), "attn_output.weight": (s.C, s.H * s.D)}
    if s.qk_norm:
        tensors |= {"attn_q_norm.weight": (s.D,), "attn_k_norm.weight": (s.D,)}
    if s.bias:
        tensors |= {"attn_q.bias": (s.H * s.D,), "attn_k.bias": (s.G * s.D,),
                    "attn_v.bias": (s.G * s.D,)}
    return tensors | {"post_attention_norm.weight": (s.C,)}


def latent(s):
    """The attention tensors of a layer of deepseek2."""
    query = s.H * (s.N + s.R)
    tensors = {"attn_q.weight": (query, s.C)}
    if s.Q:
        tensors = {"attn_q_a.weight": (s.Q, s.C), "attn_q_a_norm.weight": (s.Q,),
                   "attn_q_b.weight": (query, s.Q)}
    tensors |= {"attn_kv_a_mqa.weight": (s.L + s.R, s.C), "attn_kv_a_norm.weight": (s.L,),
                "attn_output.weight": (s.C, s.H * s.V), "ffn_norm.weight": (s.C,)}
    if s.joint:
        return tensors | {"attn_kv_b.weight": (s.H * (s.N + s.V), s.L)}
    return tensors | {"attn_k_b.weight": (s.H, s.L, s.N), "attn_v_b.weight": (s.H, s.V, s.L)}


def feed_forward(s, layer):
    """The feed-forward tensors of a layer."""
    if layer < s.dense:
        return {"ffn_gate.weight": (s.F, s.C), "ffn_up.weight": (s.F, s.C),
                "ffn_down.weight": (s.C, s.F)}
    tensors = {"ffn_gate_inp.weight": (s.E, s.C), "ffn_gate_exps.weight": (s.E, s.X, s.C),
               "ffn_up_exps.weight": (s.E, s.X, s.C), "ffn_down_exps.weight": (s.E, s.C, s.X)}
    if s.correct:
        tensors |= {"exp_probs_b.bias": (s.E,)}
    shared = s.shared * s.X
    return tensors | {"ffn_gate_shexp.weight": (shared, s.C), "ffn_up_shexp.weight": (shared, s.C),
                      "ffn_down_shexp.weight": (s.C, shared)}


def tensor_shapes(s):
    """Every tensor with its shape, rows before columns."""
    yield "token_embd.weight", (VOCABULARY, s.C)
    yield "output_norm.weight", (s.C,)
    yield "output.weight", (VOCABULARY, s.C)
    attention = heads if s.arch == "glm4moe" else latent
    for layer in range(s.layers + s.further):
        block = {"attn_norm.weight": (s.C,)} | attention(s) | feed_forward(s, layer)
        if layer >= s.layers:
            block |= {"nextn.eh_proj.weight": (s.C, 2 * s.C), "nextn.enorm.weight": (s.C,),
                      "nextn.hnorm.weight": (s.C,), "nextn.shared_head_norm.weight": (s.C,)}
        for kind, size in block.items():
            yield f"blk.{layer}.{kind}", size


# Standard deviation of a matrix's outputs for inputs of standard deviation one. Queries, keys and
# routers are drawn wide, so that attention is peaked and scores of experts lie apart; values and
# outputs so that each block adds about as much as it is given.
GAINS = {"attn_q": 1.6, "attn_q_b": 1.6, "attn_k": 1.6, "attn_k_b": 1.6, "attn_v": 1.5,
         "attn_v_b": 1.5, "attn_kv_b": 1.6, "attn_output": 1.5, "ffn_down": 2.0,
         "ffn_down_exps": 3.0, "ffn_down_shexp": 2.0, "ffn_gate_inp": 2.0, "output": 2.5}


def draw(rng, name, size):
    """Random weights of one tensor."""
    kind = name.split(".")[-2]
    if "norm" in kind:
        wide = 1.5 if kind in ("attn_q_norm", "attn_k_norm") else 1.0
        return (wide * rng.uniform(0.6, 1.4, size)).astype(np.float32)
    if name.endswith(".bias"):
        return rng.uniform(-0.6, 0.6, size).astype(np.float32)
    scale = 1.0 if kind == "token_embd" else GAINS.get(kind, 1.0) / np.sqrt(size[-1])
    return (scale * rng.standard_normal(size)).astype(np.float32)


def add_settings(writer, s):
    """The metadata of the model."""
    writer.add_name(f"tiny-{s.name}")
    writer.add_context_length(128)
    writer.add_embedding_length(s.C)
    writer.add_block_count(s.layers + s.further)
    writer.add_feed_forward_length(s.F)
    writer.add_head_count(s.H)
    writer.add_layer_norm_rms_eps(s.eps)
    writer.add_rope_freq_base(s.base)
    writer.add_vocab_size(VOCABULARY)
    writer.add_leading_dense_block_count(s.dense)
    writer.add_expert_count(s.E)
    writer.add_expert_used_count(s.used)
    writer.add_expert_feed_forward_length(s.X)
    writer.add_expert_shared_count(s.shared)
    writer.add_expert_weights_scale(s.scale)
    writer.add_expert_weights_norm(s.normalise)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType(s.gate))
    writer.add_expert_group_count(s.groups)
    writer.add_expert_group_used_count(s.groups_used)
    if s.further:
        writer.add_nextn_predict_layers(s.further)


def add_attention(writer, s):
    """The metadata of attention."""
    if s.arch == "glm4moe":
        writer.add_head_count_kv(s.G)
        writer.add_key_length(s.D)
        writer.add_value_length(s.D)
        writer.add_rope_dimension_count(s.rotated)
        return
    writer.add_q_lora_rank(s.Q)
    writer.add_kv_lora_rank(s.L)
    writer.add_rope_dimension_count(s.R)
    if s.joint:
        writer.add_head_count_kv(s.H)
        writer.add_key_length(s.N + s.R)
        writer.add_value_length(s.V)
        return
    writer.add_head_count_kv(1)
    writer.add_key_length(s.L + s.R)
    writer.add_value_length(s.L)
    writer.add_key_length_mla(s.N + s.R)
    writer.add_value_length_mla(s.V)


def write(shape, path, exact, zero=(), **changes):
    """Writes a model; `exact` turns every weight into f32, `changes` override settings, and
    tensors of the kinds in `zero` are zero (norms: one)."""
    s = Shape(**{**vars(shape), **changes})
    writer = gguf.GGUFWriter(str(path), s.arch)
    add_settings(writer, s)
    add_attention(writer, s)
    add_byte_bpe(writer)
    rng = np.random.default_rng(shape.seed)
    for name, size in tensor_shapes(shape):
        values = draw(rng, name, size)
        if any(name.endswith(kind) for kind in zero):
            values = np.full(size, 1.5 if "norm" in name else 0.0, np.float32)
        fmt = Type.Q8_0 if name.split(".")[-2] in s.q8 else Type.F32
        data = quantize(values, fmt)
        if exact or fmt == Type.F32:
            writer.add_tensor(name, dequantize(data, fmt).reshape(size).astype(np.float32))
        else:
            writer.add_tensor(name, data, raw_dtype=fmt)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tokens_of(shape):
    """Tokens drawn from all of the vocabulary."""
    rng = np.random.default_rng(shape.seed + 100)
    return [int(t) for t in rng.integers(4, VOCABULARY, TOKENS)]


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


SENSITIVITY = [
    (GLM4MOE, {"base": 9_000.0}), (GLM4MOE, {"rotated": 16}), (GLM4MOE, {"eps": 1e-3}),
    (GLM4MOE, {"used": 2}), (GLM4MOE, {"scale": 1.7}), (GLM4MOE, {"normalise": False}),
    (GLM4MOE, {"gate": SOFTMAX}), (GLM4MOE, {"groups": 4, "groups_used": 2}),
    (GLM4MOE, {"zero": ["exp_probs_b.bias"]}), (GLM4MOE, {"zero": ["ffn_down_shexp.weight"]}),
    (GLM4MOE, {"zero": ["attn_q.bias"]}), (GLM4MOE, {"zero": ["attn_k.bias"]}),
    (GLM4MOE, {"zero": ["attn_v.bias"]}), (GLM4MOE, {"zero": ["attn_q_norm.weight"]}),
    (GLM4MOE, {"zero": ["attn_k_norm.weight"]}), (GLM4MOE, {"zero": ["post_attention_norm.weight"]}),
    (GLM4MOE_PLAIN, {"groups": 1}), (GLM4MOE_PLAIN, {"groups_used": 3}),
    (GLM4MOE_PLAIN, {"normalise": True}), (GLM4MOE_PLAIN, {"scale": 1.0}),
    (DEEPSEEK2, {"base": 9_000.0}), (DEEPSEEK2, {"eps": 1e-3}), (DEEPSEEK2, {"used": 2}),
    (DEEPSEEK2, {"scale": 1.7}), (DEEPSEEK2, {"normalise": False}), (DEEPSEEK2, {"groups": 1}),
    (DEEPSEEK2, {"gate": SOFTMAX}), (DEEPSEEK2, {"zero": ["exp_probs_b.bias"]}),
    (DEEPSEEK2, {"zero": ["ffn_down_shexp.weight"]}), (DEEPSEEK2, {"zero": ["attn_q_a_norm.weight"]}),
    (DEEPSEEK2, {"zero": ["attn_kv_a_norm.weight"]}),
    (DEEPSEEK2_JOINT, {"base": 9_000.0}), (DEEPSEEK2_JOINT, {"gate": SIGMOID}),
    (DEEPSEEK2_JOINT, {"normalise": True}), (DEEPSEEK2_JOINT, {"scale": 3.8}),
]


def sensitivity(folder):
    """Prints how far the logits move when one setting is changed."""
    for shape, change in SENSITIVITY:
        write(shape, folder / "as-is.gguf", exact=True)
        write(shape, folder / "changed.gguf", exact=True, **change)
        tokens = tokens_of(shape)
        moved = np.abs(logits_of(folder / "changed.gguf", tokens)
                       - logits_of(folder / "as-is.gguf", tokens)).max()
        print(f"{shape.name:16} {change}: {moved:.3f}")


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
