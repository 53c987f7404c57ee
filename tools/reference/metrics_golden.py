"""Golden numbers for the evaluation's measures, from scikit-learn, statsmodels and rouge-score.

    python tools/reference/metrics_golden.py > crates/autoglm-task/fixtures/metrics.json

needs `pip install scikit-learn statsmodels rouge-score`.
"""

import collections
import json
import random
import re
import string

import numpy
from rouge_score import rouge_scorer
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

LABELS = ["world", "体育", "business", "tech", "unused"]
ROWS = 240
TEXTS = [
    ("The cat sat on the mat.", "the cat sat on a mat"),
    ("A short summary of the report", "The report in short: a summary"),
    ("nothing alike", "quite different words"),
    ("", "empty answer"),
    ("one two three four five", "five four three two one"),
    ("It's 3.5 km, isn't it?", "its 35 km isnt it"),
    ("the the the cat", "the cat cat"),
]


def closed_rows(generator):
    rows = []
    for _ in range(ROWS):
        gold = generator.choice(LABELS[:4])
        weights = numpy.array([generator.gammavariate(0.5, 1.0) for _ in LABELS])
        weights[LABELS.index(gold)] *= 6.0
        weights[4] = 1e-3
        probabilities = weights / weights.sum()
        # Four decimals that still add up to one.
        probabilities = numpy.round(probabilities, 4)
        probabilities[probabilities.argmax()] += 1.0 - probabilities.sum()
        answered = generator.random() > 0.05
        rows.append(
            {
                "gold": gold,
                "probabilities": [round(float(p), 4) for p in probabilities] if answered else None,
            }
        )
    return rows


def calibration_error(rows, bins=15):
    """Expected calibration error as Guo et al. 2017 define it, bins closed on the right."""
    confidence = numpy.array([max(r["probabilities"]) for r in rows])
    right = numpy.array(
        [LABELS[int(numpy.argmax(r["probabilities"]))] == r["gold"] for r in rows], dtype=float
    )
    edges = numpy.linspace(0.0, 1.0, bins + 1)
    error = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
    return float(error)


def closed(rows):
    gold = [r["gold"] for r in rows]
    given = [
        LABELS[int(numpy.argmax(r["probabilities"]))] if r["probabilities"] else "none"
        for r in rows
    ]
    answered = [r for r in rows if r["probabilities"]]
    occurring = [label for label in LABELS if label in gold or label in given]
    right = sum(g == a for g, a in zip(gold, given))
    low, high = proportion_confint(right, len(rows), method="wilson")
    return {
        "accuracy": metrics.accuracy_score(gold, given),
        "macro_f1": metrics.f1_score(gold, given, labels=occurring, average="macro"),
        "brier": metrics.brier_score_loss(
            [r["gold"] for r in answered],
            # scikit-learn wants the columns in sorted order of the labels.
            [[p for _, p in sorted(zip(LABELS, r["probabilities"]))] for r in answered],
            labels=sorted(LABELS),
            scale_by_half=False,
        ),
        "calibration_error": calibration_error(answered),
        "interval": [low, high],
        "confusion": metrics.confusion_matrix(gold, given, labels=LABELS + ["none"])[:-1].tolist(),
        "precision": metrics.precision_score(
            gold, given, labels=LABELS, average=None, zero_division=0
        ).tolist(),
        "recall": metrics.recall_score(
            gold, given, labels=LABELS, average=None, zero_division=0
        ).tolist(),
    }


def squad_words(text):
    """The normalisation that SQuAD describes, with all but letters, digits and blanks deleted."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def squad(answer, gold):
    answer, gold = squad_words(answer), squad_words(gold)
    shared = sum((collections.Counter(answer) & collections.Counter(gold)).values())
    exact = answer == gold
    if not answer or not gold:
        return exact, float(exact)
    return exact, 2 * shared / (len(answer) + len(gold))


def texts():
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    out = []
    for answer, gold in TEXTS:
        exact, f1 = squad(answer, gold)
        rouge = scorer.score(gold, answer)["rougeL"].fmeasure
        out.append(
            {"answer": answer, "gold": gold, "exact": exact, "token_f1": f1, "rouge_l": rouge}
        )
    return out


def wilson():
    counts = [(0, 10), (10, 10), (1, 10), (81, 263), (1639, 1821), (1, 2)]
    return [
        {"right": r, "all": n, "interval": list(proportion_confint(r, n, method="wilson"))}
        for r, n in counts
    ]


def main():
    rows = closed_rows(random.Random(20))
    golden = {
        "labels": LABELS,
        "rows": rows,
        "closed": closed(rows),
        "texts": texts(),
        "wilson": wilson(),
    }
    print(json.dumps(golden, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
