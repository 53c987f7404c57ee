"""Measures llama.cpp or ik_llama.cpp through the C API that their Python packages load.

    python benchmarks/peers/llama_cpp_peer.py MODEL.gguf --works '[{"work": "decode", "depth": 0}]'

Prints one JSON object for each kind of work, as `autoglm model bench --json` has them in `rows`. Batches are filled before
the clock runs; what is timed are the calls of `llama_decode` alone, up to the logits. Every kind of
work is first run with and without flash attention: that is the warm-up, and the faster of the
two is then measured.
"""

import importlib.metadata
import json
import random
import sys
import time

from options import parser as options_of


def load_api():
    """The package that this Python has, and its functions under the names of llama.cpp."""
    try:
        from llama_cpp import llama_cpp as api
        return "llama-cpp-python", api
    except ImportError:
        from ik_llama_cpp import _ctypes_api as api
        return "ik-llama-cpp-python", api


PACKAGE, api = load_api()
IS_FORK = PACKAGE.startswith("ik")
# The exit code that compare.py knows.
UNREAD = 3
PASS_TOKENS = 512
SUFFIX_TOKENS = 8


def fork_function(name):
    """A function of the fork that its package does not declare."""
    import ctypes
    function = getattr(api._lib, name)
    function.restype = ctypes.c_bool if name.endswith("seq_rm") else None
    numbers = {"clear": 0, "seq_rm": 3, "seq_cp": 4}[name.removeprefix("llama_kv_cache_")]
    function.argtypes = [ctypes.c_void_p] + [ctypes.c_int32] * numbers
    return function


class Memory:
    """The keys and values of a context."""

    def __init__(self, ctx):
        if IS_FORK:
            self.of = ctx
            self.functions = {name: fork_function(f"llama_kv_cache_{name}")
                              for name in ("clear", "seq_rm", "seq_cp")}
        else:
            self.of = api.llama_get_memory(ctx)
            self.functions = {name: getattr(api, f"llama_memory_{name}")
                              for name in ("clear", "seq_rm", "seq_cp")}

    def clear(self):
        self.functions["clear"](*((self.of,) if IS_FORK else (self.of, True)))

    def cut(self, sequence, length):
        self.functions["seq_rm"](self.of, sequence, length, -1)

    def copy(self, source, target, length):
        self.functions["seq_cp"](self.of, source, target, 0, length)


class Model:
    def __init__(self, path, threads):
        api.llama_backend_init()
        params = api.llama_model_default_params()
        if IS_FORK:
            # Weights in the layout of its kernels, which a map of the file cannot have.
            params.use_mmap = False
            params.repack_tensors = True
        self.handle = api.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            print(f"{PACKAGE} does not read {path}", file=sys.stderr)
            raise SystemExit(UNREAD)
        self.vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.handle))
        self.threads = threads

    def encode(self, text, begins):
        """The tokens of a text; with BOS, where the model wants it, if a prompt begins."""
        text = text.encode()
        of = self.handle if IS_FORK else api.llama_model_get_vocab(self.handle)
        tokens = (api.llama_token * (len(text) + 2))()
        count = api.llama_tokenize(of, text, len(text), tokens, len(tokens), begins, False)
        return list(tokens[:count])

    def context(self, tokens, sequences, flash, shared):
        params = api.llama_context_default_params()
        params.n_ctx = (tokens + 255) // 256 * 256
        params.n_batch = params.n_ubatch = PASS_TOKENS
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = self.threads
        if IS_FORK:
            params.flash_attn = flash
        else:
            params.flash_attn_type = int(flash)
            params.kv_unified = shared
        handle = api.llama_init_from_model(self.handle, params)
        if not handle:
            raise SystemExit(f"{PACKAGE} gives no context of {params.n_ctx} tokens")
        return Context(self, handle)


class Context:
    def __init__(self, model, handle):
        self.model = model
        self.handle = handle
        self.memory = Memory(handle)
        self.batch = api.llama_batch_init(PASS_TOKENS, 0, 1)

    def close(self):
        api.llama_batch_free(self.batch)
        api.llama_free(self.handle)

    def decode(self, rows, tokens=None):
        """Seconds of one pass over rows of (sequence, position, whether logits are wanted);
        random tokens where none are given."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (sequence, position, wanted) in enumerate(rows):
            batch.token[i] = tokens[i] if tokens else random.randrange(self.model.vocabulary)
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        began = time.perf_counter()
        if api.llama_decode(self.handle, batch) != 0:
            raise SystemExit(f"{PACKAGE} failed to decode {len(rows)} tokens")
        if rows[-1][2]:
            api.llama_get_logits_ith(self.handle, len(rows) - 1)
        return time.perf_counter() - began

    def feed(self, sequence, start, count):
        """Seconds to append tokens to a sequence, up to the logits of the last one."""
        seconds = 0.0
        for first in range(start, start + count, PASS_TOKENS):
            last = min(first + PASS_TOKENS, start + count)
            rows = [(sequence, p, p + 1 == start + count) for p in range(first, last)]
            seconds += self.decode(rows)
        return seconds


class Prefill:
    """One prompt from an empty context."""

    def __init__(self, work, decode):
        self.tokens = work["tokens"]
        self.needs = {"tokens": self.tokens, "sequences": 1, "shared": False}

    def prepare(self, context):
        pass

    def sample(self, context):
        context.memory.clear()
        return self.tokens / context.feed(0, 0, self.tokens)


class Decode:
    """One sequence, token by token."""

    def __init__(self, work, decode):
        self.depth = work["depth"]
        self.decode = decode
        self.needs = {"tokens": self.depth + decode, "sequences": 1, "shared": False}

    def prepare(self, context):
        if self.depth:
            context.feed(0, 0, self.depth)

    def sample(self, context):
        context.memory.cut(0, self.depth)
        end = self.depth + self.decode
        return self.decode / sum(context.decode([(0, p, True)]) for p in range(self.depth, end))


class Sequences:
    """Several sequences that decode together."""

    def __init__(self, work, decode):
        self.count = work["sequences"]
        self.decode = decode
        # A context is divided among its sequences, in multiples of 256.
        self.needs = {"tokens": self.count * max(256, decode), "sequences": self.count,
                      "shared": False}

    def prepare(self, context):
        pass

    def sample(self, context):
        context.memory.clear()
        seconds = sum(context.decode([(s, position, True) for s in range(self.count)])
                      for position in range(self.decode))
        return self.count * self.decode / seconds


class Prefix:
    """Requests that share a beginning; sequence 0 keeps it for the others."""

    def __init__(self, work, decode):
        self.kind = work["work"]
        self.prefix = work["prefix"]
        self.clients = work.get("clients", 1)
        self.decode = decode
        own = SUFFIX_TOKENS + decode
        self.needs = {"tokens": self.prefix + (self.clients + 1) * own,
                      "sequences": self.clients + 1, "shared": True}

    def prepare(self, context):
        pass

    def sample(self, context):
        context.memory.clear()
        first = context.feed(0, 0, self.prefix + SUFFIX_TOKENS)
        if self.kind == "first-token":
            return first * 1e3
        sequences = range(1, self.clients + 1)
        began = time.perf_counter()
        for sequence in sequences:
            context.memory.copy(0, sequence, self.prefix)
        seconds = time.perf_counter() - began
        end = self.prefix + SUFFIX_TOKENS
        seconds += context.decode([(s, p, p + 1 == end) for s in sequences
                                   for p in range(self.prefix, end)])
        if self.kind == "next-first-token":
            return seconds * 1e3
        # The pass over the suffixes has given the first token of each.
        for position in range(end, end + self.decode - 1):
            seconds += context.decode([(s, position, True) for s in sequences])
        return self.clients * self.decode / seconds


class Score:
    """Labels of one token scored behind prompts, which share beginnings with the one before."""

    def __init__(self, work, decode):
        with open(work["prompts"], encoding="utf-8") as file:
            self.records = [json.loads(line) for line in file]
        self.prompts = None
        # More tokens than bytes there are not; they are cut down when they are known.
        longest = max(len(record["prompt"].encode()) for record in self.records)
        self.needs = {"tokens": min(longest, 4096), "sequences": 1, "shared": False}

    def prepare(self, context):
        encode = context.model.encode
        self.prompts = [encode(record["prompt"], True) for record in self.records]
        options = [encode(option, False) for option in self.records[0]["options"]]
        if any(len(option) != 1 for option in options):
            raise SystemExit("labels of more than one token are not measured")

    def sample(self, context):
        context.memory.clear()
        before, seconds = [], 0.0
        for prompt in self.prompts:
            limit = min(len(before), len(prompt) - 1)
            shared = next((i for i in range(limit) if before[i] != prompt[i]), limit)
            began = time.perf_counter()
            context.memory.cut(0, shared)
            seconds += time.perf_counter() - began
            for first in range(shared, len(prompt), PASS_TOKENS):
                piece = prompt[first : first + PASS_TOKENS]
                rows = [(0, first + i, first + i + 1 == len(prompt)) for i in range(len(piece))]
                seconds += context.decode(rows, piece)
            before = prompt
        return len(self.prompts) / seconds


KINDS = {"score": Score, "prefill": Prefill, "decode": Decode, "sequences": Sequences, "first-token": Prefix,
         "next-first-token": Prefix, "clients": Prefix}


def measure(model, work, options):
    """The samples of one kind of work with the faster kind of attention."""
    kind = KINDS[work["work"]](work, options.decode)
    is_time = work["work"].endswith("first-token")
    warm = {}
    for flash in [False] if options.no_flash else [True, False]:
        context = model.context(flash=flash, **kind.needs)
        kind.prepare(context)
        warm[flash] = (kind.sample(context), context)
    ranked = sorted(warm, key=lambda flash: warm[flash][0], reverse=not is_time)
    for flash in ranked[1:]:
        warm[flash][1].close()
    context = warm[ranked[0]][1]
    samples = [kind.sample(context) for _ in range(options.repetitions)]
    context.close()
    unit = "ms" if is_time else "records/s" if work["work"] == "score" else "tokens/s"
    return work | {"unit": unit, "samples": samples, "flash_attention": ranked[0]}


def main():
    parser = options_of(__doc__)
    parser.add_argument("--no-flash", action="store_true", help="never use flash attention")
    options = parser.parse_args()
    random.seed(1)
    model = Model(options.model, options.threads)
    engine = {"engine": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"}
    for work in options.works:
        print(json.dumps(engine | measure(model, work, options)), flush=True)


if __name__ == "__main__":
    main()
