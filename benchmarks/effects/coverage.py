# ruff: noqa: TID253 - it runs in a process of its own, which needs them
"""Estimates the average effect over many seeds of each process, and counts how often its interval holds the truth."""

import json
import sys
import time
import warnings

import numpy as np

from benchmarks.effects.worlds import BRAND, SPEC, journeys, protocol
from e2i_pipeline.domain.causal.design import effect_data
from e2i_pipeline.domain.causal.estimators import average_effect
from e2i_pipeline.domain.synthetic_truth import brand_truth

PROCESSES = ("simple_linear", "confounded", "heterogeneous")


def main(seeds: int, rows: int) -> None:
    """Prints per process the misses, as of 100, and by how many standard errors the mean is off."""
    warnings.simplefilter("ignore")
    began, counts = time.perf_counter(), {}
    for process in PROCESSES:
        truth = brand_truth(BRAND, process, 0.0)["partially_linear"]
        found = [
            average_effect(effect_data(journeys(process, rows, seed), protocol(seed)), protocol(seed), SPEC)
            for seed in range(seeds)
        ]
        values = np.array([one.value for one in found])
        misses = sum(not one.low <= truth <= one.high for one in found)
        counts[f"missed {process}"] = 100 * misses / seeds
        counts[f"off {process}"] = float(abs(values.mean() - truth) / (values.std(ddof=1) / np.sqrt(seeds)))
    json.dump({"seconds": time.perf_counter() - began, "counts": counts}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
