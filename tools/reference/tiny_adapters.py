"""Writes small adapters for the models of `tiny_transformers.py`, and what `peft` makes of them.

    pip install torch transformers peft safetensors numpy
    python tools/reference/tiny_adapters.py crates/autoglm-model/fixtures/adapters

For each adapter a folder is written:

    NAME/adapter_config.json, NAME/adapter_model.safetensors    as `save_pretrained` writes them
    NAME/golden.json    the name of the model, the tokens, the shape of the logits
    NAME/logits.bin     [tokens, vocabulary], little-endian f32; virtual tokens are left out

Keys and values are rounded to f16 when they are stored, as a cache of f16 holds them. The folders
of the models themselves are the other script's. The adapter of `chatglm` is one of the same Glm
model, written under the names of the class that ChatGLM came with: queries, keys and values are
one matrix there and share A.

The printed number says how far the adapter moves the model's logits, in parts of their standard
deviation: it must be far more than the test's tolerance.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import cache_utils

from tiny_transformers import MODELS, build, tokens_of

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
VIRTUAL = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 5}


def lora(**settings):
    return peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)


# Name, model, seed, configuration.
ADAPTERS = [
    ("lora-glm", "glm", 61, lora(r=4, lora_alpha=6, target_modules=[*ALL, "gate_up_proj"])),
    ("lora-chatglm", "chatglm", 62, lora(r=3, lora_alpha=3, target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj"])),
    ("lora-llama", "llama", 63, lora(
        r=4, lora_alpha=3, use_rslora=True, target_modules=[*ALL, "gate_proj", "up_proj"],
        rank_pattern={"k_proj": 2}, alpha_pattern={"layers.1.self_attn.v_proj": 5})),
    ("lora-gemma3", "gemma3", 64, lora(r=8, lora_alpha=4, target_modules=["q_proj", "v_proj"])),
    ("prompt-gemma3", "gemma3", 65, peft.PromptTuningConfig(**VIRTUAL)),
    ("p-tuning-glm", "glm", 66, peft.PromptEncoderConfig(**VIRTUAL, encoder_hidden_size=24)),
    ("prefix-llama", "llama", 67, peft.PrefixTuningConfig(**VIRTUAL)),
    ("prefix-qwen2", "qwen2", 68, peft.PrefixTuningConfig(**VIRTUAL, prefix_projection=True,
                                                          encoder_hidden_size=16)),
]


def keep_half(kind):
    """Lets a layer of a cache hold f16."""
    update = kind.update

    def rounded(self, keys, values, *rest, **more):
        keys, values = (x.to(torch.float16).to(x.dtype) for x in (keys, values))
        return update(self, keys, values, *rest, **more)
    kind.update = rounded


def fill(model, seed, peft_type):
    """Draws every parameter of the adapter."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        size = tuple(parameter.shape)
        if "lora_" in name:
            values = 0.6 / np.sqrt(size[-1]) * rng.standard_normal(size)
        elif "prompt_encoder" in name:
            values = (0.5 if len(size) == 1 else 1.0) * rng.standard_normal(size)
        else:
            continue
        parameter.data.copy_(torch.tensor(values, dtype=torch.float32))


def share(model):
    """Gives queries, keys and values of a layer one A."""
    state = dict(model.named_parameters())
    for name, parameter in state.items():
        if "lora_A" in name and ("k_proj" in name or "v_proj" in name):
            other = name.replace("k_proj", "q_proj").replace("v_proj", "q_proj")
            parameter.data.copy_(state[other].data)


def to_chatglm(folder):
    """Writes a saved adapter anew under the names of the class that ChatGLM came with."""
    path = folder / "adapter_model.safetensors"
    state, fused = load_file(path), {}
    parts = {"self_attn.o_proj": "self_attention.dense", "mlp.gate_up_proj": "mlp.dense_h_to_4h"}
    for name, value in state.items():
        name = name.replace("model.model.layers", "model.transformer.encoder.layers")
        for old, new in parts.items():
            name = name.replace(old, new)
        if "q_proj" in name:
            values = [state[key] for key in [k for part in "qkv" for k in state
                      if k.endswith(name.split("layers.")[1].replace("q_proj", f"{part}_proj"))]]
            value = torch.cat(values) if "lora_B" in name else value
            name = name.replace("self_attn.q_proj", "self_attention.query_key_value")
        elif "k_proj" in name or "v_proj" in name:
            continue
        fused[name] = value.to(torch.float16).contiguous()
    save_file(fused, path, metadata={"format": "pt"})
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"] = ["query_key_value", "dense", "dense_h_to_4h"]
    path.write_text(json.dumps(config, indent=2) + "\n")


def round_to_half(model):
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(parameter.data.to(torch.float16).to(torch.float32))


def make(name, spec, seed, config, folder):
    """Writes one adapter's folder and prints how far it moves the logits."""
    folder = folder / name
    shutil.rmtree(folder, ignore_errors=True)
    tokens = torch.tensor([tokens_of(spec)])
    with torch.no_grad():
        plain = build(spec)(tokens, use_cache=True).logits[0].float().numpy()
    model = peft.get_peft_model(build(spec), config)
    fill(model, seed, config.peft_type)
    if spec.name == "chatglm":
        share(model)
        round_to_half(model)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    loaded = peft.PeftModel.from_pretrained(build(spec), folder).eval()
    if spec.name == "chatglm":
        to_chatglm(folder)
    with torch.no_grad():
        logits = loaded(tokens, use_cache=True).logits[0].float().numpy()[-tokens.shape[1]:]
    logits.astype("<f4").tofile(folder / "logits.bin")
    facts = {"base": spec.name, "tokens": tokens[0].tolist(), "shape": list(logits.shape),
             "peft": peft.__version__, "transformers": transformers.__version__}
    (folder / "golden.json").write_text(json.dumps(facts) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    moved = np.abs(logits - plain).max() / plain.std()
    print(f"{name}: {size} bytes, moves the logits by {moved:.2f} standard deviations")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_half(cache_utils.DynamicLayer)
    if cache_utils.DynamicSlidingWindowLayer.update is not cache_utils.DynamicLayer.update:
        keep_half(cache_utils.DynamicSlidingWindowLayer)
    models = {spec.name: spec for spec in MODELS}
    for name, base, seed, config in ADAPTERS:
        make(name, models[base], seed, config, options.folder)


if __name__ == "__main__":
    main()
