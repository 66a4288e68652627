"""Terms are asked for once, remembered per text, and shared by every way in."""

from types import SimpleNamespace

import pytest

from CardiacAILib import consent
from CardiacAILib.errors import LicenseError


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("CARDIACAI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(consent, "_session", {})
    return SimpleNamespace(name="m", folder=tmp_path, license="research only", license_text="terms, first edition")


def test_refuses_until_accepted_and_says_how(model):
    with pytest.raises(LicenseError, match=r"research only.*--accept-license"):
        consent.require(model)
    consent.accept(model)
    consent.require(model)


def test_the_answer_outlives_the_process(model, monkeypatch):
    consent.accept(model)
    monkeypatch.setattr(consent, "_session", {})
    assert consent.accepted(model)


def test_other_terms_are_asked_for_again(model):
    consent.accept(model)
    model.license_text = "terms, second edition"
    assert not consent.accepted(model)


def test_an_unwritable_home_still_lets_this_run_go_on(model, monkeypatch):
    monkeypatch.setenv("CARDIACAI_HOME", "/proc/nowhere")
    consent.accept(model)
    assert consent.accepted(model)


def test_a_damaged_answer_file_counts_as_no_answer(model, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "accepted-terms.json").write_text("{")
    assert not consent.accepted(model)
