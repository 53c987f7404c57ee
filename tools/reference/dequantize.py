"""Writes a copy of a GGUF file with every weight as F32.

    pip install gguf numpy
    python tools/reference/dequantize.py MODEL.gguf MODEL-f32.gguf

The weights are the same numbers; only their storage changes. With such a file llama.cpp computes
in floats and rounds no activations to 8 bits, which makes it the judge where two engines differ.
"""

import argparse

import gguf
import numpy as np
from gguf.quants import dequantize

LEFT_OUT = ("general.architecture", "general.file_type")


def copy_metadata(reader, writer):
    """All fields but those that the writer sets itself."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in LEFT_OUT:
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    options = parser.parse_args()
    reader = gguf.GGUFReader(options.model)
    writer = gguf.GGUFWriter(options.out, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
