"""Write probability.json: what scikit-learn and scikit-image give for maps made from a formula.

Run in an environment with both (neither is needed by the tests):

    python tests/goldens/make_probability_goldens.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score, roc_auc_score

CASES = {
    # name: (voxels, distinct scores, share of positives in percent)
    "no ties to speak of": (5000, 1_000_003, 10),
    "a hundred levels": (5000, 101, 10),
    "three levels": (5000, 3, 50),
    "rare": (5000, 997, 1),
}


def maps(voxels: int, levels: int, percent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (reference, scores) by integer arithmetic, the same on every machine."""
    index = np.arange(1, voxels + 1, dtype=np.int64)
    noise = index * index * 7919 % 1_000_003
    reference = index * 104_729 % 100 < percent
    scores = (noise + reference * 300_000) * levels // 1_300_003 / levels
    return reference, scores


def main() -> None:
    """Write the file beside this script."""
    goldens = {}
    for name, arguments in CASES.items():
        reference, scores = maps(*arguments)
        goldens[name] = {
            "arguments": arguments,
            "auc_roc": roc_auc_score(reference, scores),
            "auc_pr": average_precision_score(reference, scores),
            "otsu": float(threshold_otsu(scores)),
        }
    path = Path(__file__).with_name("probability.json")
    path.write_text(json.dumps(goldens, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
