"""Tiny random BERT models with the vectors that other implementations make of some texts.

    pip install torch transformers tokenizers safetensors gguf llama-cpp-python numpy
    python tools/reference/tiny_bert.py crates/autoglm-model/fixtures

    folders/bert/           f32, uncased tokenizer.json, the mean of all tokens, texts of 24 tokens
    folders/bert-cls/       f16, cased vocab.txt, the first token
    tiny-bert.gguf          the weights of folders/bert
    */golden.json, tiny-bert.json

`golden.json` has for each text the ids of `tokenizers`, and of the last hidden states that
`transformers` computes in f32, one text at a time, the mean and the first. `tiny-bert.json` has
llama.cpp's ids and normalised vectors; it approximates GELU with tanh, in a table of f16, and
`"deviation"` says how far its vectors are from those of `transformers`.
"""

import argparse
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from llama_cpp import Llama
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SIZES = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 3,
         "max_position_embeddings": 40, "layer_norm_eps": 1e-3}
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["", "a", "The quick brown fox jumps over the lazy dog.", "the lazy dog", "你好，世界！这部电影太好看了。",
         "物流 fast and good, 包装 too", "Ünïcödé naïve café", "emoji 😀 here", "[CLS] is text, and so is [SEP]",
         "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"]
WORDS = ["the", "quick", "brown", "dog", "lazy", "one", "two", "##een", "##ty", "good", "fast", "世", "界", "你", "好",
         "电", "影", "。", "，", "！"]


def vocabulary():
    letters = [chr(c) for c in range(0x21, 0x7F) if not chr(c).isupper()] + [chr(c) for c in range(0x41, 0x5B)]
    return SPECIALS + letters + [f"##{c}" for c in letters if c.isalnum()] + WORDS


def tokenizer_of(lowercase):
    ids = {token: i for i, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def build(seed, dtype):
    """A model whose parameters are all drawn, so that none is a one or a zero that hides a mistake."""
    config = transformers.BertConfig(vocab_size=len(vocabulary()), **SIZES)
    config._attn_implementation = "eager"
    model = transformers.BertModel(config).to(torch.float32).eval()
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        size = tuple(parameter.shape)
        if "LayerNorm.weight" in name:
            values = 1.0 + rng.uniform(-0.4, 0.4, size)
        elif len(size) == 1:
            values = 0.3 * rng.standard_normal(size)
        elif "embeddings" in name:
            values = rng.standard_normal(size)
        else:
            gain = 2.0 if ".query" in name or ".key" in name else 1.5
            values = gain / np.sqrt(size[-1]) * rng.standard_normal(size)
        exact = torch.tensor(values, dtype=torch.float32).to(dtype).to(torch.float32)
        parameter.data.copy_(exact)
    return model


def ids_of(tokenizer, text, limit):
    """As the package cuts: the end of a text goes, what stands around it stays. Control tokens in a text are text."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    ids = plain.encode(text, add_special_tokens=False).ids
    return [plain.token_to_id("[CLS]"), *ids[:limit - 2], plain.token_to_id("[SEP]")]


def golden(model, tokenizer, limit):
    cases = []
    for text in TEXTS:
        ids = ids_of(tokenizer, text, limit)
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0].double().numpy()
        cases.append({"text": text, "ids": ids, "mean": states.mean(0).tolist(), "first": states[0].tolist()})
    return {"cases": cases, "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def write_folder(folder, model, tokenizer, dtype, pooling, limit):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = model.config.to_diff_dict() | {"architectures": ["BertModel"], "model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    state = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    path = "sentence_transformers.models"
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{path}.Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{path}.Pooling"},
               {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{path}.Normalize"}]
    write_json(folder / "modules.json", modules)
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": SIZES["hidden_size"], **modes})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})


def write_gguf(path, model):
    """The same weights under the names of GGUF, with a vocabulary as llama.cpp's converter writes it."""
    writer = gguf.GGUFWriter(path, "bert")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(config.type_vocab_size)
    tokens = vocabulary()
    marked = [t if t in SPECIALS else t[2:] if t.startswith("##") else f"▁{t}" for t in tokens]
    kinds = [gguf.TokenType.CONTROL if t in SPECIALS else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(marked)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_eos_token_id(tokens.index("[SEP]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if not name.startswith("pooler.") and "position_ids" not in name:
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), value.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_golden(path, wanted):
    llama = Llama(str(path), embedding=True, n_ctx=SIZES["max_position_embeddings"], n_threads=1, verbose=False)
    cases, squares, largest = [], [], 0.0
    for case in wanted:
        ids = llama.tokenize(case["text"].encode(), add_bos=True, special=False)
        if len(ids) > SIZES["max_position_embeddings"]:
            continue  # llama.cpp does not cut at the end of what the model was trained for
        vector = np.array(llama.embed(case["text"], normalize=True))
        cases.append({"text": case["text"], "ids": ids, "vector": vector.tolist()})
        if ids == case["ids"]:
            exact = np.array(case["mean"])
            off = np.abs(vector - exact / np.linalg.norm(exact))
            squares.append((off ** 2).mean())
            largest = max(largest, off.max())
    deviation = {"rms": float(np.sqrt(np.mean(squares))), "largest": float(largest), "texts": len(squares)}
    return {"cases": cases, "deviation": deviation}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    model, tokenizer = build(71, torch.float32), tokenizer_of(lowercase=True)
    folder = out / "folders/bert"
    write_folder(folder, model, tokenizer, torch.float32, "mean_tokens", 24)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIALS])
    (folder / "tokenizer.json").write_text(tokenizer.to_str() + "\n")
    write_json(folder / "golden.json", golden(model, tokenizer_of(lowercase=True), 24))
    write_gguf(out / "tiny-bert.gguf", model)
    whole = golden(model, tokenizer_of(lowercase=True), SIZES["max_position_embeddings"])
    write_json(out / "tiny-bert.json", llama_golden(out / "tiny-bert.gguf", whole["cases"]))
    model, folder = build(72, torch.float16), out / "folders/bert-cls"
    write_folder(folder, model, None, torch.float16, "cls_token", None)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    write_json(folder / "golden.json", golden(model, tokenizer_of(lowercase=False), SIZES["max_position_embeddings"]))


if __name__ == "__main__":
    main()
