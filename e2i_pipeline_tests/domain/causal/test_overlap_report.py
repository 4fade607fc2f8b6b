"""The overlap of a protocol: enough of it on the generator's processes, too little where treatment is settled."""

import numpy as np
import pytest

from e2i_pipeline.domain.causal.design import effect_data
from e2i_pipeline.domain.causal.nuisance import cross_fitted
from e2i_pipeline.domain.causal.overlap_report import OverlapReport, OverlapRules, assess_overlap
from e2i_pipeline_tests.domain.causal.journeys import SPEC, drawn, protocol, randomized, randomized_protocol

RULES = OverlapRules((0.05, 0.95), (0.05, 20.0), minimum_kept=0.8, minimum_effective=0.3, maximum_imbalance=0.25)


def binary(share_settled: float) -> OverlapReport:
    """A binary treatment that severity settles for a share of the journeys."""
    frame = randomized(4_000)
    settled = frame["disease_severity"].rank(pct=True) <= share_settled
    frame.loc[settled, "treated"] = (frame.loc[settled, "disease_severity"] > 3).astype(float)
    trial = randomized_protocol(is_randomized=False)
    data = effect_data(frame, trial)
    return assess_overlap(data, cross_fitted(data, SPEC, "binary", "binary", chance=False), trial, RULES)


def broken(report: OverlapReport) -> set[str]:
    """Names of the blocking rules that do not hold."""
    return {f.name for f in report.findings if f.blocks and not f.holds}


def test_a_dose_with_noise_of_its_own_overlaps_in_each_segment() -> None:
    data = effect_data(drawn("confounded", 4_000), protocol())
    nuisance = cross_fitted(data, SPEC, "continuous", "binary", chance=False)
    report = assess_overlap(data, nuisance, protocol(), RULES)
    assert not broken(report)
    assert [s.name for s in report.slices] == ["everybody", *(s.name for s in protocol().segments)]
    before = {b.covariate: abs(b.before) for b in report.balance}
    after = {b.covariate: abs(b.after) for b in report.balance}
    assert before["disease_severity"] > 0.3 > after["disease_severity"]
    assert (report.weight[~report.is_kept] == 0).all()
    assert report.optimal is None


def test_a_coin_toss_overlaps_for_all() -> None:
    report = binary(share_settled=0.0)
    assert report.is_kept.mean() > 0.99
    assert report.optimal == (0.0, 1.0)
    assert not broken(report)


def test_a_treatment_that_is_settled_for_many_is_refused_and_those_are_described() -> None:
    report = binary(share_settled=0.4)
    assert "enough_overlap" in broken(report)
    assert report.is_kept.mean() == pytest.approx(0.6, abs=0.1)  # a few at the very cut cannot be told apart
    worst = report.described[0]
    assert worst.covariate == "disease_severity"
    assert worst.trimmed < worst.kept
    assert report.optimal is not None
    assert report.optimal[0] > 0


def test_a_treatment_that_is_settled_for_all_leaves_nearly_nobody() -> None:
    report = binary(share_settled=1.0)
    assert "enough_overlap" in broken(report)
    assert report.is_kept.mean() < 0.4
    assert np.isfinite([s.kept for s in report.slices]).all()
