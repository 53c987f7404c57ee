"""Golden numbers for the calibrators of confidences, from scikit-learn.

    python tools/reference/calibrators_golden.py > crates/autoglm-task/fixtures/calibrators.json

needs `pip install scikit-learn`.
"""

import json
import math
import random

import numpy
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

MARGIN = 1e-6


def log_odds(p):
    p = min(max(p, MARGIN), 1 - MARGIN)
    return math.log(p / (1 - p))


def case(rows, overconfident, steps):
    """Answers whose confidence is too high; steps > 0 leaves so many different confidences."""
    answers = []
    for _ in range(rows):
        p = random.random()
        if steps:
            p = round(p * steps) / steps
        right = random.random() < p ** overconfident
        answers.append((float(numpy.float32(p)), right))
    p = numpy.array([a[0] for a in answers])
    odds = numpy.array([log_odds(x) for x in p])
    right = numpy.array([a[1] for a in answers], dtype=int)
    at = [i / 20 for i in range(21)]
    at_odds = numpy.array([log_odds(x) for x in at])
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, right)
    platt = _SigmoidCalibration().fit(odds, right)
    return {
        "answers": answers,
        "at": at,
        "isotonic": isotonic.predict(numpy.array(at)).tolist(),
        "platt": platt.predict(at_odds).tolist(),
    }


random.seed(21)
print(json.dumps([case(40, 2, 0), case(200, 1, 10), case(500, 3, 0)]))
