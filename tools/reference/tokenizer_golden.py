"""Golden token ids from llama.cpp.

    tokenizer_golden.py model MODEL.gguf OUT.json      ids of tokenizer_texts.json under a real vocabulary
    tokenizer_golden.py synthetic OUT_DIR              small vocabularies of both kinds, with their ids
    tokenizer_golden.py texts MODEL.gguf TEXTS OUT     ids of a JSON list of texts (local checks)
    tokenizer_golden.py vocabulary MODEL.gguf OUT      a real vocabulary as JSON (local checks)

Needs the packages llama-cpp-python and gguf.
"""

import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import gguf
import llama_cpp

HERE = Path(__file__).parent
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
PRE_TOKENIZERS = ["smollm", "gpt-2", "default", "llama-bpe", "qwen2", "chatglm-bpe", "glm4", "deepseek-v3"]


class Reference:
    """llama.cpp's tokenizer of one file."""

    def __init__(self, path):
        self.model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def encode(self, text, specials):
        raw = text.encode()
        room = len(raw) + 16
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, specials)
        assert count >= 0, (text, count)
        return list(ids[:count])

    def ends(self):
        return [i for i in range(self.size) if llama_cpp.llama_vocab_is_eog(self.vocab, i)]


def cases(reference, texts):
    """Every text with its ids; `parsed` where recognising control tokens changes them."""
    out = []
    for text in texts:
        plain, parsed = reference.encode(text, False), reference.encode(text, True)
        case = {"text": text, "ids": plain}
        if parsed != plain:
            case["parsed"] = parsed
        out.append(case)
    return out


def write(path, value):
    """JSON with one case a line, so that a change shows as a small difference."""
    lists = {k: v for k, v in value.items() if k in ("cases", "tokens", "pre_tokenizers")}
    head = {k: v for k, v in value.items() if k not in lists}
    body = json.dumps(head, ensure_ascii=False)[:-1]
    for key, rows in lists.items():
        joined = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        body += f'{"," if len(body) > 1 else ""}\n"{key}": [\n{joined}\n]'
    Path(path).write_text(body + "}\n")


def texts():
    return json.loads((HERE / "tokenizer_texts.json").read_text())


def read_vocabulary(path):
    fields = gguf.GGUFReader(path).fields
    get = lambda name, default=None: (
        fields[f"tokenizer.ggml.{name}"].contents() if f"tokenizer.ggml.{name}" in fields else default
    )
    tokens = get("tokens")
    return {
        "model": get("model"),
        "pre": get("pre", "default"),
        "merges": get("merges", []),
        "add_space_prefix": get("add_space_prefix", get("model") == "llama"),
        "add_bos": get("add_bos_token", get("model") == "llama"),
        "bos": get("bos_token_id"),
        "eos": get("eos_token_id"),
        "eot": get("eot_token_id"),
        "unk": get("unknown_token_id"),
        "tokens": [list(t) for t in zip(tokens, get("scores", [0.0] * len(tokens)), get("token_type"))],
    }


# The small vocabularies are trained on this, so that they merge something in every script.
CORPUS = (
    "the quick brown fox jumps over the lazy dog. it's what they've said, we'll go on: hello world! "
    "the review is great, the phone is terrible; sentiment: positive or negative? other another there "
    "def main(): return value if value else other\n    print(value)\n        return 1234 + 12 - 34 "
    "你好世界，这部电影太好看了。物流很快，包装也不错。评论：屏幕很清晰。情感：正面，情感：负面。好好好看看"
    "Привет мир, привет. aaaa abab ababab aaaaaaaa 😀😀 café naïve <b> <p> </p> == != ... !!! "
) * 3


def train(words, count):
    """Plain byte-pair encoding over words given as tuples of symbols: the merges in order."""
    words = Counter(words)
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        merged = Counter()
        for word, n in words.items():
            out, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    out.append(word[i] + word[i + 1])
                    i += 2
                else:
                    out.append(word[i])
                    i += 1
            merged[tuple(out)] += n
        words = merged
    return merges


def sentence_piece_vocabulary(add_space_prefix):
    escaped = CORPUS.replace(" ", "▁")
    words = [tuple(w) for w in re.findall(r"▁*[^▁\n]+|\n+", escaped) if "\n" not in w]
    merges = train(words, 260)
    tokens = [("<pad>", -1000.0, CONTROL), ("<eos>", -1000.0, CONTROL), ("<bos>", -1000.0, CONTROL),
              ("<unk>", 0.0, UNKNOWN), ("<start_of_turn>", -1000.0, CONTROL),
              ("<end_of_turn>", -1000.0, CONTROL), ("<unused0>", -1000.0, USER_DEFINED)]
    tokens += [("\n" * n, -1000.0, USER_DEFINED) for n in (2, 3, 4)]
    tokens += [("▁" * n, -1000.0, USER_DEFINED) for n in (2, 4)]
    tokens += [("<table>", -1000.0, USER_DEFINED), ("<td>", -1000.0, USER_DEFINED)]
    tokens += [(f"<0x{b:02X}>", -1000.0, BYTE) for b in range(256)]
    seen = {t[0] for t in tokens}
    # Two tokens share each score, so that ties are decided by position.
    for rank, (left, right) in enumerate(merges):
        if left + right not in seen:
            seen.add(left + right)
            tokens.append((left + right, -float(rank // 2), NORMAL))
    for char in sorted(set(escaped) - {"\n"}):
        if char not in seen:
            tokens.append((char, -float(len(merges)), NORMAL))
    return {"model": "llama", "pre": "default", "merges": [], "add_space_prefix": add_space_prefix,
            "add_bos": True, "bos": 2, "eos": 1, "eot": None, "unk": 3, "tokens": tokens}


def byte_characters():
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(rest)) for b in range(256)]


def byte_bpe_vocabulary():
    stand_in = byte_characters()
    encode = lambda text: tuple(stand_in[b] for b in text.encode())
    words = [encode(w) for w in re.findall(r" ?\w+| ?[^\w\s]+|\s+", CORPUS)]
    merges = train(words, 260)
    tokens = [("<|endoftext|>", 0.0, CONTROL), ("<|im_start|>", 0.0, CONTROL), ("<|im_end|>", 0.0, CONTROL),
              ("<|user|>", 0.0, CONTROL), ("<|observation|>", 0.0, CONTROL), ("<tool_call>", 0.0, USER_DEFINED)]
    tokens += [(c, 0.0, NORMAL) for c in stand_in]
    seen = {t[0] for t in tokens}
    for left, right in merges:
        if left + right not in seen:
            seen.add(left + right)
            tokens.append((left + right, 0.0, NORMAL))
    # A word that no merge reaches: found only where whole words are looked up first.
    tokens.append(("Ġunbelievable", 0.0, NORMAL))
    return {"model": "gpt2", "merges": [f"{a} {b}" for a, b in merges], "add_space_prefix": False,
            "add_bos": False, "bos": 1, "eos": 2, "eot": None, "unk": None, "tokens": tokens}


def write_gguf(path, vocabulary, pre):
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(64)
    out.add_embedding_length(32)
    out.add_block_count(1)
    out.add_feed_forward_length(32)
    out.add_head_count(1)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model(vocabulary["model"])
    out.add_tokenizer_pre(pre)
    tokens, scores, kinds = zip(*vocabulary["tokens"])
    out.add_token_list(list(tokens))
    out.add_token_scores(list(scores))
    out.add_token_types(list(kinds))
    if vocabulary["merges"]:
        out.add_token_merges(vocabulary["merges"])
    out.add_add_space_prefix(vocabulary["add_space_prefix"])
    out.add_add_bos_token(vocabulary["add_bos"])
    out.add_bos_token_id(vocabulary["bos"])
    out.add_eos_token_id(vocabulary["eos"])
    if vocabulary["unk"] is not None:
        out.add_unk_token_id(vocabulary["unk"])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def reference_for(vocabulary, pre, folder):
    path = Path(folder) / f"{pre}.gguf"
    write_gguf(path, vocabulary, pre)
    return Reference(path)


def synthetic(out_dir):
    out_dir = Path(out_dir)
    with tempfile.TemporaryDirectory() as folder:
        for prefix in (False, True):
            vocabulary = sentence_piece_vocabulary(prefix)
            reference = reference_for(vocabulary, "default", folder)
            name = "sentence_piece_prefix" if prefix else "sentence_piece"
            write(out_dir / f"{name}.json",
                  vocabulary | {"ends": reference.ends(), "cases": cases(reference, texts())})
        vocabulary = byte_bpe_vocabulary()
        runs = []
        for pre in PRE_TOKENIZERS:
            reference = reference_for(vocabulary, pre, folder)
            runs.append({"pre": pre, "cases": cases(reference, texts())})
        write(out_dir / "byte_bpe.json",
              vocabulary | {"ends": reference.ends(), "pre_tokenizers": runs})


def main(command, *args):
    if command == "model":
        reference = Reference(args[0])
        write(args[1], {"file": Path(args[0]).name, "tokens_in_vocabulary": reference.size,
                        "ends": reference.ends(), "cases": cases(reference, texts())})
    elif command == "synthetic":
        synthetic(args[0])
    elif command == "texts":
        reference = Reference(args[0])
        rows = json.loads(Path(args[1]).read_text())
        write(args[2], {"cases": cases(reference, rows)})
    elif command == "vocabulary":
        write(args[1], read_vocabulary(args[0]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
