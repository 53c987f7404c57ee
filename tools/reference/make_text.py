"""Writes a text of about 20,000 tokens for comparing perplexities.

    python tools/reference/make_text.py OUT.txt

The text is made of what every checkout and every Python has: this repository's licence, the
reviews of its examples (English and Chinese) and the help texts of the Python that runs the
script. It differs a little between Python releases; a comparison of two engines only needs both
to read the same file. The SHA-256 that is printed belongs beside published figures.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

ROOT = Path(__file__).parents[2]
EXAMPLES = ["reviews/reviews.jsonl", "reviews-zh/reviews.jsonl", "summaries/texts.jsonl"]


def paragraphs():
    """The parts of the text, the repository's own first."""
    yield (ROOT / "LICENSE").read_text(encoding="utf-8")
    for name in EXAMPLES:
        for line in (ROOT / "examples" / name).read_text(encoding="utf-8").splitlines():
            yield json.loads(line)["text"]
    for name in sorted(topics):
        yield topics[name].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--characters", type=int, default=85_000)
    options = parser.parse_args()
    text = "\n\n".join(paragraphs())[: options.characters]
    options.out.write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    print(f"{len(text)} characters, Python {sys.version.split()[0]}, sha256 {digest}")


if __name__ == "__main__":
    main()
