"""The command line that the scripts of all peers have."""

import argparse
import json


def parser(description):
    """MODEL, the kinds of work, threads and sizes of a measurement."""
    found = argparse.ArgumentParser(description=description,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("model")
    found.add_argument("--works", required=True, type=json.loads, help="a JSON array")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--decode", type=int, default=32, help="tokens of one measurement")
    found.add_argument("--repetitions", type=int, default=3)
    return found
