"""Decoding speed behind long contexts, gated beside full attention, in turns within one process.

    python tools/evaluate/speed.py --model FILE [--depth 8192] [--cache-type q8] [-- bench options]
"""

import argparse
import json
import statistics
import subprocess

from measuring import add_engine_options


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_engine_options(parser)
    parser.add_argument("--depth", type=int, action="append")
    parser.add_argument("--cache-type", default="f16")
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("rest", nargs="*", help="options of the bench, such as --selected-tokens N")
    options = parser.parse_args()
    depths = [word for depth in options.depth or [8192] for word in ("--depth", str(depth))]
    command = [options.autoglm, "model", "bench", options.model, "--threads", str(options.threads),
               "--decode", str(options.decode), "--repetitions", str(options.repetitions),
               "--cache-type", options.cache_type, "--attention", "gated", "--json",
               *depths, *options.rest]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows = {(row["work"], row["depth"]): row["samples"] for row in found["rows"]}
    for depth in options.depth or [8192]:
        full, gated = rows["decode", depth], rows["gated-decode", depth]
        ratios = [b / a for a, b in zip(full, gated)]
        print(f"{options.model}, {options.cache_type}, depth {depth}: full "
              f"{statistics.median(full):.1f}, gated {statistics.median(gated):.1f} tokens/s, "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
