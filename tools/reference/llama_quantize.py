"""Quantises a GGUF file with llama.cpp's quantiser, for comparison with ours.

    pip install llama-cpp-python
    python tools/reference/llama_quantize.py MODEL-f16.gguf OUT.gguf q4_k_m
"""

import argparse
import ctypes
import sys

import llama_cpp

TYPES = {"f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15, "bf16": 32}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("type", choices=TYPES)
    options = parser.parse_args()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = TYPES[options.type]
    sys.exit(llama_cpp.llama_model_quantize(options.model.encode(), options.out.encode(),
                                            ctypes.byref(params)))


if __name__ == "__main__":
    main()
