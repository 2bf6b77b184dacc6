"""Predicts the TTFT of a prompt from the calibration points, which are other steps than it has.

A step that computes n tokens after p cached ones takes `c0 + c1 n + c2 n (p + n/2) + c3 p` ms:
the weights, the products, the attention, and the reading of the cache. A prompt alone is the
sum of its chunks.
"""

from statistics import median

import numpy as np


def features(new: int, cached: int) -> list[float]:
    return [1.0, new, new * (cached + new / 2), cached]


class Prediction:
    def __init__(self, points: list[dict], max_chunk: int) -> None:
        self.max_chunk = max_chunk
        steps = [p for p in points if p["batch"] == 1 and p["new"] > 1]
        ms = np.array([median(p["ms"]) for p in steps])
        rows = np.array([features(p["new"], p["cached"]) for p in steps])
        # Relative errors count, so that short steps weigh as much as long ones.
        self.coefficients = np.linalg.lstsq(rows / ms[:, None], np.ones(len(ms)), rcond=None)[0]

    def ms(self, prompt: int, cached: int) -> float:
        total = 0.0
        while cached < prompt:
            new = min(self.max_chunk, prompt - cached)
            total += float(np.dot(self.coefficients, features(new, cached)))
            cached += new
        return total

    def beside(self, measured: float, prompt: int, cached: int) -> str:
        """The prediction and how far it is from what was measured, for a table."""
        ms = self.ms(prompt, cached)
        return f"{ms:.1f} ({ms / measured - 1:+.0%})"
