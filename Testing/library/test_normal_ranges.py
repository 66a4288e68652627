"""The normal range is the published one, of the right sex, and of nobody whose sex is unknown."""

import pytest

from CardiacAILib.normal_ranges import normal_range


@pytest.mark.parametrize(("sex", "mean", "deviation"), [("M", 53, 9), ("F", 42, 7)])
def test_ranges_are_those_of_the_source(sex, mean, deviation):
    found = normal_range(sex)
    assert (found.index_low + found.index_high) / 2 == pytest.approx(mean)
    assert (found.index_high - found.index_low) / (2 * 1.96) == pytest.approx(deviation)
    assert found.sex == sex
    assert "10.1186/s12968-017-0327-9" in found.source and "45 to 74 years" in found.source


@pytest.mark.parametrize("sex", [None, "", "O", "f", "male"])
def test_nobody_else_has_one(sex):
    assert normal_range(sex) is None
