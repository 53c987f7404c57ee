"""Puts names that are there into most generated requests, so that they come further than "no such thing", and
keeps answers short, so that thousands of them do not take hours.

`schemathesis` reads this file where `SCHEMATHESIS_HOOKS` names it; `fuzz.py` does. Which requests keep what was
generated depends on the value alone, so that a run can be repeated.
"""

import json
import os
import zlib

import schemathesis

NAMES = json.loads(os.environ["AUTOGLM_FUZZ_NAMES"])
"""What stands for parameters of paths, and for fields of bodies."""
LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
MOST_TOKENS = 8


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return with_names(path_parameters, NAMES["path"])


@schemathesis.hook
def map_body(context, body):
    return shortened(with_names(body, NAMES["body"]))


def with_names(values, names):
    """Three in four get what is there; the others stay as they were generated, and so does what is wrong."""
    if not isinstance(values, dict) or zlib.crc32(repr(values).encode()) % 4 == 0:
        return values
    fits = lambda name, value: name in names and value != "" and type(value) is type(names[name])
    return {name: names[name] if fits(name, value) else value for name, value in values.items()}


def shortened(body):
    """A length that a model would write is cut; one that is wrong stays wrong."""
    if not isinstance(body, dict):
        return body
    is_long = lambda name, value: name in LENGTHS and type(value) is int and value > MOST_TOKENS
    return {name: MOST_TOKENS if is_long(name, value) else value for name, value in body.items()}
