"""Measures OpenVINO GenAI on a GGUF file; it reads those of some architectures.

    python benchmarks/peers/openvino_peer.py MODEL.gguf --works '[{"work": "decode", "depth": 0}]'

Prints one JSON object for each kind of work, as `autoglm model bench --json` has them in `rows`. The times are those that
the pipeline itself reports, without Python: up to the first token, and between tokens.
"""

import importlib.metadata
import json
import random
import sys

import numpy as np
import openvino as ov
import openvino_genai as genai

from options import parser as options_of

# The exit code that compare.py knows.
UNREAD = 3
VOCABULARY = 8192  # Random tokens come from the beginning of a vocabulary, which all models have.


def generate(pipeline, sequences, prompt_tokens, new_tokens):
    """The pipeline's own measurements of a generation from random prompts."""
    ids = np.array([[random.randrange(VOCABULARY) for _ in range(prompt_tokens)]
                    for _ in range(sequences)], np.int64)
    inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
    config = genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True)
    return pipeline.generate(inputs, config).perf_metrics


def sample(pipeline, work, decode):
    """One sample of a kind of work; `None` where the pipeline offers no such thing."""
    match work:
        case {"work": "prefill", "tokens": tokens}:
            metrics = generate(pipeline, 1, tokens, 1)
            return 1e3 * tokens / metrics.get_ttft().mean
        case {"work": "decode", "depth": depth}:
            metrics = generate(pipeline, 1, max(depth, 1), decode + 1)
            return 1e3 / metrics.get_tpot().mean
        case {"work": "sequences", "sequences": count}:
            metrics = generate(pipeline, count, 1, decode + 1)
            behind_first = metrics.get_generate_duration().mean - metrics.get_ttft().mean
            return 1e3 * count * decode / behind_first
    return None


def main():
    options = options_of(__doc__).parse_args()
    random.seed(1)
    settings = {"INFERENCE_NUM_THREADS": options.threads, "PERFORMANCE_HINT": "LATENCY"}
    try:
        pipeline = genai.LLMPipeline(options.model, "CPU", **settings)
    except RuntimeError as error:
        print(f"openvino-genai does not read {options.model}: {error}", file=sys.stderr)
        raise SystemExit(UNREAD) from None
    engine = {"engine": f"openvino-genai {importlib.metadata.version('openvino-genai')}"}
    for work in options.works:
        if sample(pipeline, work, options.decode) is not None:
            samples = [sample(pipeline, work, options.decode) for _ in range(options.repetitions)]
            print(json.dumps(engine | work | {"unit": "tokens/s", "samples": samples}), flush=True)


if __name__ == "__main__":
    main()
