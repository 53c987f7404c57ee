"""Writes tiny random models as folders with safetensors, and what `transformers` makes of them.

    pip install torch transformers safetensors numpy
    python tools/reference/tiny_transformers.py crates/autoglm-model/fixtures/folders
    python tools/reference/tiny_transformers.py --sensitivity /tmp/folders

For each model a folder is written:

    NAME/config.json, NAME/*.safetensors    the model, sharded where its row below says so
    NAME/golden.json                        the tokens, the shape of the logits, the deviation
    NAME/logits.bin                         [tokens, vocabulary], little-endian f32

The logits are computed in f32 with keys and values rounded to f16 when they are stored, as a
cache of f16 holds them; `"deviation"` says how far that is from the logits of an f32 cache. What a
correct engine with an f16 cache is off by is rounding alone.

`transformers` has no code of its own for the classes that ChatGLM came with. Its Glm class is the
same mathematics, so those folders are the rewriting of a Glm model into their names and fields.

With --sensitivity nothing is kept but a table: how far the logits move when one setting of a model
is changed, in parts of their standard deviation. Each must move them far more than the tolerance
of the test, or the golden numbers would not notice that mistake in an engine.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import DynamicCache

TOKENS = 40
VOCABULARY = 96
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 64,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 16, "max_position_embeddings": 128, "pad_token_id": None,
         "bos_token_id": None, "eos_token_id": None}
# Twice the length is exact in f16 wherever it is multiplied, before a key is stored or after.
# Bases are small enough that every pair turns noticeably within the tokens of the test.
HALF = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
WHOLE = {"rope_type": "default", "rope_theta": 500.0}
LINEAR = WHOLE | {"rope_type": "linear", "factor": 2.5}
LLAMA3 = WHOLE | {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = WHOLE | {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
                "beta_fast": 4.0, "beta_slow": 1.0, "attention_factor": 2.0}
WINDOWS = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
GEMMA_ROPE = {"sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
              "full_attention": LINEAR}


# Eight experts; the class of GLM-4.7-Flash names its layers, that of GLM-4.5 counts the dense ones.
EXPERTS = {"num_hidden_layers": 3, "n_routed_experts": 8, "num_experts_per_tok": 3,
           "moe_intermediate_size": 16, "n_shared_experts": 1, "routed_scaling_factor": 1.8,
           "norm_topk_prob": True, "n_group": 1, "topk_group": 1, "rms_norm_eps": 1e-2}
GROUPS = EXPERTS | {"n_group": 4, "topk_group": 2, "n_shared_experts": 2, "norm_topk_prob": False,
                    "routed_scaling_factor": 0.7}
LATENT = {"q_lora_rank": 24, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16,
          "v_head_dim": 24, "head_dim": 16, "num_key_value_heads": 4,
          "mlp_layer_types": ["dense", "sparse", "sparse"], "rope_parameters": WHOLE}


class Model:
    """A model to write: its class, settings that differ from `SIZES`, and how it is stored."""

    def __init__(self, name, kind, seed, dtype=torch.float32, shards=1, layout=None, peak=1.25,
                 **settings):
        self.name, self.kind, self.seed = name, kind, seed
        self.dtype, self.shards, self.layout, self.peak = dtype, shards, layout, peak
        self.settings = SIZES | settings

    def config(self):
        kind = "Gemma3TextConfig" if self.kind == "Gemma3" else f"{self.kind}Config"
        config = getattr(transformers, kind)(**copy.deepcopy(self.settings))
        config._attn_implementation = "eager"
        return config


MODELS = [
    Model("glm", "Glm", 21, rms_norm_eps=1e-2, attention_bias=True, rope_parameters=HALF),
    Model("glm-edge", "Glm", 22, rms_norm_eps=1e-2, attention_bias=False,
          rope_parameters=WHOLE | {"partial_rotary_factor": 1.0}, dtype=torch.bfloat16),
    Model("chatglm", "Glm", 23, rms_norm_eps=1e-2, attention_bias=True, layout="chatglm",
          num_key_value_heads=1, rope_parameters=HALF | {"rope_theta": 10_000.0 * 0.04}),
    Model("glm4", "Glm4", 24, rms_norm_eps=1e-2, attention_bias=True, rope_parameters=HALF,
          shards=2),
    Model("llama", "Llama", 25, rms_norm_eps=1e-2, rope_parameters=WHOLE, attention_bias=True,
          mlp_bias=True),
    Model("llama-3", "Llama", 26, rms_norm_eps=1e-2, rope_parameters=LLAMA3,
          tie_word_embeddings=True, dtype=torch.float16),
    Model("qwen2", "Qwen2", 27, rms_norm_eps=1e-2, rope_parameters=YARN, hidden_size=64,
          peak=0.8, dtype=torch.float16, shards=2),
    Model("qwen3", "Qwen3", 28, rms_norm_eps=1e-2, rope_parameters=WHOLE,
          tie_word_embeddings=True),
    Model("gemma3", "Gemma3", 29, rms_norm_eps=1e-2, rope_parameters=GEMMA_ROPE,
          num_hidden_layers=4, layer_types=WINDOWS, sliding_window=8, query_pre_attn_scalar=24,
          dtype=torch.bfloat16),
    Model("glm4-moe", "Glm4Moe", 41, attention_bias=True, use_qk_norm=True, rope_parameters=HALF,
          first_k_dense_replace=1, num_mtp_layers=0, **EXPERTS),
    Model("glm4-moe-groups", "Glm4Moe", 42, attention_bias=False, use_qk_norm=False,
          rope_parameters=HALF, first_k_dense_replace=2, num_mtp_layers=0, dtype=torch.bfloat16,
          shards=2, **GROUPS),
    Model("glm4-moe-lite", "Glm4MoeLite", 43, **EXPERTS | LATENT),
    Model("glm4-moe-lite-groups", "Glm4MoeLite", 44, dtype=torch.bfloat16,
          **GROUPS | LATENT | {"q_lora_rank": None}),
]

# A setting of each model, and another value for it.
CHANGES = [
    ("glm", {"rms_norm_eps": 1e-5}), ("glm", {"num_key_value_heads": 4}),
    ("glm", {"rope_parameters": HALF | {"rope_theta": 450.0}}),
    ("glm", {"rope_parameters": HALF | {"partial_rotary_factor": 1.0}}),
    ("glm-edge", {"rope_parameters": HALF}),
    ("chatglm", {"rope_parameters": HALF | {"rope_theta": 10_000.0}}),
    ("glm4", {"rms_norm_eps": 1e-5}), ("glm4", {"rope_parameters": HALF | {"rope_theta": 450.0}}),
    ("llama", {"rope_parameters": WHOLE | {"rope_theta": 450.0}}),
    ("llama", {"rms_norm_eps": 1e-5}), ("llama", {"rope_parameters": LINEAR}),
    ("llama-3", {"rope_parameters": WHOLE}),
    ("llama-3", {"rope_parameters": LLAMA3 | {"low_freq_factor": 1.5}}),
    ("llama-3", {"rope_parameters": LLAMA3 | {"high_freq_factor": 3.0}}),
    ("llama-3", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 40}}),
    ("qwen2", {"rope_parameters": WHOLE}), ("qwen2", {"rms_norm_eps": 1e-5}),
    ("qwen2", {"rope_parameters": YARN | {"factor": 3.5}}),
    ("qwen2", {"rope_parameters": YARN | {"attention_factor": 1.9}}),
    ("qwen2", {"rope_parameters": YARN | {"beta_fast": 2.0}}),
    ("qwen2", {"rope_parameters": YARN | {"beta_slow": 0.25}}),
    ("qwen3", {"rope_parameters": WHOLE | {"rope_theta": 450.0}}), ("qwen3", {"rms_norm_eps": 1e-5}),
    ("gemma3", {"sliding_window": 9}), ("gemma3", {"query_pre_attn_scalar": 16}),
    ("gemma3", {"layer_types": WINDOWS[1:] + WINDOWS[:1]}),
    ("gemma3", {"rope_parameters": GEMMA_ROPE | {"full_attention": WHOLE}}),
    ("gemma3", {"rope_parameters": GEMMA_ROPE | {"sliding_attention": WHOLE}}),
    *[(name, change) for name in ["glm4-moe", "glm4-moe-lite"] for change in [
        {"rms_norm_eps": 1e-5}, {"num_experts_per_tok": 2}, {"routed_scaling_factor": 1.7},
        {"norm_topk_prob": False}, {"n_group": 4, "topk_group": 2}]],
    *[(name, change) for name in ["glm4-moe-groups", "glm4-moe-lite-groups"] for change in [
        {"n_group": 1, "topk_group": 1}, {"topk_group": 3}, {"norm_topk_prob": True},
        {"routed_scaling_factor": 1.0}]],
    ("glm4-moe", {"rope_parameters": HALF | {"rope_theta": 450.0}}),
    ("glm4-moe", {"rope_parameters": HALF | {"partial_rotary_factor": 1.0}}),
    ("glm4-moe-lite", {"rope_parameters": WHOLE | {"rope_theta": 450.0}}),
    ("glm4-moe-lite", {"rope_interleave": False}),
]

# Parts of tensors' names, for each model what must not be overlooked: they are set to zero.
WITHOUT = [(name, part) for name in ["glm4-moe", "glm4-moe-lite"]
           for part in ["e_score_correction_bias", "shared_experts.down_proj"]]
WITHOUT += [("glm4-moe", f"{part}_proj.bias") for part in "qkv"]
WITHOUT += [("glm4-moe", f"{part}_norm") for part in "qk"]


class HalfCache(DynamicCache):
    """A cache that keeps f16."""

    def update(self, keys, values, *rest, **more):
        def rounded(x):
            return x.to(torch.float16).to(x.dtype)
        return super().update(rounded(keys), rounded(values), *rest, **more)


def gain_of(spec, name):
    """Standard deviation of a matrix's outputs for inputs of standard deviation one.

    Queries and keys are drawn wide so that attention is peaked and a mistake in positions is seen;
    values and outputs so that each block adds about as much as it is given.
    """
    if "q_proj" in name or "k_proj" in name:
        return spec.peak
    if "mlp.gate.weight" in name:  # a router: scores that lie apart
        return 2.0
    if "q_b_proj" in name or "kv_b_proj" in name:
        return 1.5
    return 1.5 if "v_proj" in name or "o_proj" in name or "down_proj" in name else 1.0


def fill(model, spec):
    """Draws every parameter, so that none is a one or a zero that hides a mistake."""
    rng = np.random.default_rng(spec.seed)
    # The class of Gemma multiplies by one more than a norm's numbers.
    centre = 0.0 if spec.kind == "Gemma3" else 1.0
    corrections = [(name, buffer) for name, buffer in model.named_buffers()
                   if name.endswith("e_score_correction_bias")]
    for name, parameter in [*model.named_parameters(), *corrections]:
        size = tuple(parameter.shape)
        if "norm" in name:
            values = centre + rng.uniform(-0.4, 0.4, size)
        elif len(size) == 1:
            values = 0.3 * rng.standard_normal(size)
        elif "embed" in name:
            tied = spec.settings.get("tie_word_embeddings", spec.kind == "Gemma3")
            values = (2.5 if tied else 7.0) / np.sqrt(size[-1]) * rng.standard_normal(size)
        else:
            gain = 2.5 if "lm_head" in name else gain_of(spec, name)
            values = gain / np.sqrt(size[-1]) * rng.standard_normal(size)
        # What is stored is what is computed with.
        exact = torch.tensor(values, dtype=torch.float32).to(spec.dtype).to(torch.float32)
        parameter.data.copy_(exact)


def build(spec, **changes):
    """The model, with some settings changed after its weights were drawn."""
    kind = {"Gemma3": "Gemma3ForCausalLM"}.get(spec.kind, f"{spec.kind}ForCausalLM")
    model = getattr(transformers, kind)(spec.config()).to(torch.float32).eval()
    fill(model, spec)
    if not changes:
        return model
    changed = copy.copy(spec)
    changed.settings = spec.settings | changes
    other = getattr(transformers, kind)(changed.config()).to(torch.float32).eval()
    state = {name: value for name, value in model.state_dict().items()
             if other.state_dict()[name].shape == value.shape}
    other.load_state_dict(state, strict=len(state) == len(model.state_dict()))
    return other


def tokens_of(spec):
    rng = np.random.default_rng(spec.seed + 100)
    return [int(token) for token in rng.integers(0, VOCABULARY, TOKENS)]


def logits_of(model, tokens, cache=HalfCache):
    """Logits of every position, [T, V]."""
    with torch.no_grad():
        past = cache(config=model.config)
        out = model(torch.tensor([tokens]), past_key_values=past, use_cache=True)
    return out.logits[0].float().numpy()


def to_chatglm(config, state):
    """A Glm model under the names and fields of the class that ChatGLM came with."""
    text = {
        "architectures": ["ChatGLMModel"], "model_type": "chatglm",
        "add_bias_linear": False, "add_qkv_bias": True,
        "apply_residual_connection_post_layernorm": False, "ffn_hidden_size": config["intermediate_size"],
        "hidden_size": config["hidden_size"], "kv_channels": config["head_dim"],
        "layernorm_epsilon": config["rms_norm_eps"], "multi_query_attention": True,
        "multi_query_group_num": config["num_key_value_heads"],
        "num_attention_heads": config["num_attention_heads"],
        "num_layers": config["num_hidden_layers"], "original_rope": True,
        "padded_vocab_size": config["vocab_size"], "post_layer_norm": True, "rmsnorm": True,
        "rope_ratio": config["rope_parameters"]["rope_theta"] / 10_000.0,
        "seq_length": config["max_position_embeddings"], "tie_word_embeddings": False,
    }
    names = {"model.embed_tokens.weight": "transformer.embedding.word_embeddings.weight",
             "model.norm.weight": "transformer.encoder.final_layernorm.weight",
             "lm_head.weight": "transformer.output_layer.weight"}
    tensors = {names[name]: state[name] for name in names}
    for layer in range(config["num_hidden_layers"]):
        old, new = f"model.layers.{layer}.", f"transformer.encoder.layers.{layer}."
        parts = {"input_layernorm": "input_layernorm", "self_attn.o_proj": "self_attention.dense",
                 "post_attention_layernorm": "post_attention_layernorm",
                 "mlp.gate_up_proj": "mlp.dense_h_to_4h", "mlp.down_proj": "mlp.dense_4h_to_h"}
        for part, renamed in parts.items():
            tensors[f"{new}{renamed}.weight"] = state[f"{old}{part}.weight"]
        for kind in ["weight", "bias"]:
            fused = [state[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            tensors[f"{new}self_attention.query_key_value.{kind}"] = torch.cat(fused)
    rot = config["head_dim"] // 2
    tensors["transformer.rotary_pos_emb.inv_freq"] = torch.ones(rot // 2)
    return text, tensors


def unstacked(state):
    """Experts under the names of checkpoints, one by one with gate and up apart."""
    out = {}
    for name, value in state.items():
        stem, _, kind = name.partition(".experts.")
        if kind not in ("gate_up_proj", "down_proj"):
            out[name] = value
            continue
        for i, matrix in enumerate(value):
            parts = {"down_proj": matrix}
            if kind == "gate_up_proj":
                parts = dict(zip(["gate_proj", "up_proj"], matrix.chunk(2)))
            for part, values in parts.items():
                out[f"{stem}.experts.{i}.{part}.weight"] = values.contiguous()
    return out


def save(spec, model, folder):
    """Writes config.json and the weights in one file or in shards."""
    config = model.config.to_dict() if spec.layout else model.config.to_diff_dict()
    config["architectures"] = [type(model).__name__]
    state = {name: value.to(spec.dtype).contiguous() for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    state = unstacked(state)
    if spec.layout == "chatglm":
        config, state = to_chatglm(config, state)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if spec.shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    index = {}
    for shard in range(spec.shards):
        file = f"model-{shard + 1:05}-of-{spec.shards:05}.safetensors"
        part = {name: state[name] for name in names[shard::spec.shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def deviation(logits, golden):
    """Largest and root-mean-square difference."""
    off = np.abs(logits.astype(np.float64) - golden)
    return {"largest": float(f"{off.max():.2e}"), "rms": float(f"{np.sqrt((off ** 2).mean()):.2e}")}


def make(spec, folder):
    """Writes one model's folder and prints what it holds."""
    folder = folder / spec.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = build(spec)
    save(spec, model, folder)
    tokens = tokens_of(spec)
    golden = logits_of(model, tokens)
    exact = deviation(logits_of(model, tokens, DynamicCache), golden)
    golden.astype("<f4").tofile(folder / "logits.bin")
    facts = {"tokens": tokens, "shape": list(golden.shape), "deviation": {"f32_cache": exact},
             "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    (folder / "golden.json").write_text(json.dumps(facts) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{spec.name}: {size} bytes, logits {golden.std():.2f} standard deviation,"
          f" an f32 cache is off by {exact}")


def sensitivity():
    """Prints how far the logits move when one setting is changed."""
    models = {spec.name: spec for spec in MODELS}
    for name, changes in CHANGES:
        spec = models[name]
        try:
            moved = logits_of(build(spec, **changes), tokens_of(spec))
        except RuntimeError:
            print(f"{name:10} {changes}: the weights do not fit, which an engine notices too")
            continue
        golden = logits_of(build(spec), tokens_of(spec))
        print(f"{name:10} {changes}: {np.abs(moved - golden).max() / golden.std():.4f}")


    for name, part in WITHOUT:
        model = build(models[name])
        golden = logits_of(model, tokens_of(models[name]))
        for key, value in model.state_dict().items():
            if part in key:
                value.zero_()
        moved = logits_of(model, tokens_of(models[name]))
        print(f"{name:10} without {part}: {np.abs(moved - golden).max() / golden.std():.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sensitivity", action="store_true")
    parser.add_argument("--only", default="", help="models whose name begins so")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if options.sensitivity:
        sensitivity()
        return
    for spec in MODELS:
        if spec.name.startswith(options.only):
            make(spec, options.folder)


if __name__ == "__main__":
    main()
