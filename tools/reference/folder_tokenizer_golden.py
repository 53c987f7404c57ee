"""Golden token ids for the tokenizers of folders.

    folder_tokenizer_golden.py OUT_DIR

Trains small tokenizers of every kind that folders hold, writes their files into OUT_DIR/NAME/, and beside them
`cases.json` with the ids of tokenizer_texts.json. `special` is what comes out where control tokens are recognised,
with what a plain text begins with. Needs the packages tokenizers, sentencepiece and tiktoken.
"""

import base64
import io
import json
import sys
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
TEXTS = json.loads((HERE / "tokenizer_texts.json").read_text())
CORPUS = [
    "the quick brown fox jumps over the lazy dog. it's what they've said, we'll go on: hello world!",
    "the review is great, the phone is terrible; sentiment: positive or negative? other another there",
    "def main(): return value if value else other\n    print(value)\n        return 1234 + 12 - 34 5678 1000000",
    "你好世界，这部电影太好看了。物流很快，包装也不错。评论：屏幕很清晰。情感：正面，情感：负面。好好好看看",
    "Привет мир, привет. aaaa abab ababab aaaaaaaa 😀😀 café naïve <b> <p> </p> == != ... !!!\n\n\n",
] * 4
# Words about as long as WordPiece cuts, and characters on the borders of what it treats apart.
LONG = ["x" * 100, "x" * 101, "é" * 100, "é" * 101, "好" * 120, "ab" * 60 + " ok", "[CLS] [SEP][MASK] [UNK] [unused0]",
        "a\u0300\u0301b İI ıß ŒǅΣς ﬁ Å ﹏_ ‿ ،؟ ।॥ 、。「」 ¿¡ §¶ $+<=>^`|~ ½ €",
        "\u2b820 \U0002b820 \U0002b920 \U0002ceb0 \u3400 \u9fff \uf900 \u3007 ｶﾞ ガ 한글 각",
        "soft\u00adhyphen zero\u200bwidth joiner\u200d mark\u200e bom\ufeff private\ue000 nul\x00 del\x7f tab\tnl\nff\x0c nel\x85"]
CONTROLS = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
GLM = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = GLM.replace(r"\p{N}{1,3}", r"\p{N}")
HAN = "[一-龥\u3040-ゟ゠-ヿ]+"
DEEPSEEK = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def byte_level(*steps, use_regex=False):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)])


def specials(controls, marks):
    return [AddedToken(t, normalized=False, special=True) for t in controls], [AddedToken(t, normalized=False) for t in marks]


def bytes_tokenizer(pre, controls=CONTROLS, marks=MARKS, normalizer=None, prefix=(), ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=560, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    if ignore_merges:
        # A word that no merge reaches: found only where whole words are looked up first.
        value = json.loads(tokenizer.to_str())
        value["model"]["vocab"]["Ġunbelievable"] = len(value["model"]["vocab"])
        tokenizer = Tokenizer.from_str(json.dumps(value))
    controls, marks = specials(controls, marks)
    tokenizer.add_special_tokens(controls)
    tokenizer.add_tokens(marks)
    byte_post = processors.ByteLevel(trim_offsets=False)
    if prefix:
        ids = [(t, tokenizer.token_to_id(t)) for t in prefix]
        tokenizer.post_processor = processors.Sequence([byte_post, processors.TemplateProcessing(
            single=[*prefix, "$A"], pair=[*prefix, "$A", "$B"], special_tokens=ids)])
    else:
        tokenizer.post_processor = byte_post
    return tokenizer


def characters_tokenizer(normalizer, pre, decoder, prefix="<s>"):
    """Byte-pair encoding over characters with tokens for bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>", "<start_of_turn>", *[f"<0x{b:02X}>" for b in range(256)]])
    tokenizer.train_from_iterator([piece for line in CORPUS for piece in line.split("\n")], trainer)
    value = json.loads(tokenizer.to_str())
    # The trainer calls byte tokens special; they are plain entries of the vocabulary.
    value["added_tokens"] = [t for t in value["added_tokens"] if not t["content"].startswith("<0x")]
    mark = max(value["model"]["vocab"].values()) + 1
    value["added_tokens"].append({"id": mark, "content": "<table>", "single_word": False, "lstrip": False,
                                  "rstrip": False, "normalized": False, "special": False})
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[prefix, "$A"], pair=[prefix, "$A", "$B"], special_tokens=[(prefix, tokenizer.token_to_id(prefix))])
    return tokenizer


def fast(folder, tokenizer, config, texts=TEXTS):
    """One `tokenizer.json` with its settings. Control tokens are always recognised here."""
    folder.mkdir(parents=True, exist_ok=True)
    value = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False, indent=0).replace("\n", "") + "\n")
    write_json(folder / "tokenizer_config.json", config)
    cases = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    write_json(folder / "cases.json", {"prefix": tokenizer.encode("", add_special_tokens=True).ids, "cases": cases})


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def sentence_piece(folder, config, added=(), **options):
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([piece for line in CORPUS for piece in line.split("\n") if piece]), model_writer=model,
        model_type="bpe", vocab_size=700, byte_fallback=True, character_coverage=1.0, minloglevel=2,
        num_threads=1, hard_vocab_limit=False, **options)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    write_json(folder / "tokenizer_config.json", config)
    size = processor.get_piece_size()
    cases = [{"text": t, "ids": processor.encode(t), "decoded": processor.decode(processor.encode(t))} for t in TEXTS]
    prefix = [size + added.index(t) for t in ("[gMASK]", "sop")] if added else [processor.bos_id()]
    write_json(folder / "cases.json", {"prefix": prefix, "cases": cases, "pieces": size})


def ranks(folder):
    """Ranks of `tiktoken`, with the settings of GLM-4's tokenizer class."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = json.loads(bytes_tokenizer(byte_level(split(GLM)), controls=[], marks=[]).to_str())
    stand_in = {c: b for b, c in enumerate(byte_characters())}
    spelt = [bytes(stand_in[c] for c in t) for t, _ in sorted(trained["model"]["vocab"].items(), key=lambda x: x[1])]
    # tiktoken wants the single bytes first.
    spelt.sort(key=lambda t: len(t) > 1)
    table = {token: rank for rank, token in enumerate(spelt)}
    (folder / "tokenizer.model").write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % r for t, r in table.items()))
    controls = {t: len(table) + i for i, t in enumerate([*CONTROLS, "<|begin_of_image|>", "<|end_of_image|>",
                                                         "<|begin_of_video|>", "<|end_of_video|>"])}
    encoding = tiktoken.Encoding("small", pat_str=GLM, mergeable_ranks=table, special_tokens=controls)
    decoder = {str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                        "special": True} for t, i in controls.items()}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "ChatGLM4Tokenizer", "added_tokens_decoder": decoder,
                                                  "eos_token": "<|endoftext|>"})
    write_json(folder / "generation_config.json",
               {"eos_token_id": [controls[t] for t in ("<|endoftext|>", "<|user|>", "<|observation|>")]})
    cases = []
    for text in TEXTS:
        ids = encoding.encode(text, allowed_special="all")
        kept = [i for i in ids if i < len(table)]
        cases.append({"text": text, "ids": ids, "decoded": encoding.decode(kept)})
    write_json(folder / "cases.json", {"prefix": [controls["[gMASK]"], controls["<sop>"]], "cases": cases})


def word_pieces(lowercase):
    """A vocabulary of WordPiece: every character of the texts, alone and inside a word, and some words."""
    alphabet = sorted({c for text in LONG + TEXTS for c in unicodedata.normalize("NFD", text).lower() + text
                       if not c.isspace()})
    words = ["the", "quick", "un", "##aff", "##able", "##ing", "hello", "Hello", "你好", "aa", "##aa", "##ab", "naive"]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", *alphabet, *[f"##{c}" for c in alphabet],
            *(word for word in words if lowercase or word != "naive")]


def word_piece(folder, old_files, post, **normaliser):
    """A WordPiece tokenizer as `tokenizer.json`, or as the older `vocab.txt` with settings."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = word_pieces(normaliser["lowercase"])
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(**normaliser)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = post(ids)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in vocabulary[:5]])
    if old_files:
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "BertTokenizer", "do_lower_case": normaliser["lowercase"],
            "strip_accents": normaliser["strip_accents"],
            "tokenize_chinese_chars": normaliser["handle_chinese_chars"]})
    else:
        value = json.loads(tokenizer.to_str())
        (folder / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False) + "\n")
    cases = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in TEXTS + LONG]
    frame = tokenizer.encode("", add_special_tokens=True).ids
    write_json(folder / "cases.json", {"prefix": frame[:1], "suffix": frame[1:], "cases": cases})


def template(ids):
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                         special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")])


def bert_post(ids):
    return processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))


def byte_characters():
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(rest)) for b in range(256)]


def main(out):
    out = Path(out)
    eos = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    glm = bytes_tokenizer(byte_level(split(GLM)), prefix=("[gMASK]", "<sop>"), ignore_merges=True)
    fast(out / "glm", glm, eos)
    fast(out / "qwen", bytes_tokenizer(byte_level(split(QWEN)), normalizer=normalizers.NFC()), eos)
    fast(out / "smollm", bytes_tokenizer(byte_level(pre_tokenizers.Digits(individual_digits=True), use_regex=True)), eos)
    fast(out / "deepseek", bytes_tokenizer(byte_level(split(r"\p{N}{1,3}"), split(HAN), split(DEEPSEEK))), eos)
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    spaces = normalizers.Replace(" ", "▁")
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    strip = decoders.Sequence([*back, decoders.Strip(content=" ", left=1)])
    fast(out / "llama", characters_tokenizer(normalizers.Sequence([normalizers.Prepend("▁"), spaces]), None, strip), names)
    fast(out / "metaspace", characters_tokenizer(
        None, pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False), strip), names)
    fast(out / "gemma", characters_tokenizer(spaces, pre_tokenizers.Split(" ", behavior="merged_with_previous"),
                                             decoders.Sequence(back)), names)
    chatglm = {"tokenizer_class": "ChatGLMTokenizer", "name_or_path": "THUDM/chatglm3-6b"}
    plain = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    sentence_piece(out / "chatglm3", chatglm, added=("[MASK]", "[gMASK]", "[sMASK]", "sop"), **plain)
    sentence_piece(out / "gemma_pieces", names, add_dummy_prefix=False, user_defined_symbols=["<table>"], **plain)
    ranks(out / "ranks")
    usual = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    word_piece(out / "bert", False, template, **usual)
    word_piece(out / "bert_cased", True, bert_post, **usual | {"lowercase": False})
    word_piece(out / "bert_raw", False, bert_post, clean_text=False, handle_chinese_chars=False, strip_accents=False,
               lowercase=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
