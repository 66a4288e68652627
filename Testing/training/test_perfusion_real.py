"""Figures on real series: files like QPerf's, made of a phantom whose flow is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io

from CardiacAILib.labels import MYO
from CardiacAILib.perfusion import network
from CardiacAILib.perfusion.first_pass import GADOLINIUM, frames
from CardiacAILib.phantom_perfusion import perfusion_phantom
from CardiacAITraining.perfusion_real import PIXEL, qperf, table


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    phantom = perfusion_phantom(
        flow=1.0, levels=("mid",), unit=GADOLINIUM, pixel=PIXEL, frames=80, heart_rate=120, noise=0.002
    )
    path = tmp_path_factory.mktemp("qperf") / "rest.mat"
    pictures = frames(phantom.first_pass.slices[0])
    scipy.io.savemat(path, {"data": np.moveaxis(pictures, 0, 2), "aif": phantom.aif[:, None]})
    engine = SimpleNamespace(model=SimpleNamespace(name="told", version="0", confidence_limits=None))
    answer = network.Found(phantom.labels[0], {1: 0.99, MYO.value: 0.99, 3: 0.99})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "find_labels", lambda *_: answer)
        return qperf(path, "rest", engine)


def test_flow_is_what_was_put_in(found):
    assert found["flow"] == pytest.approx(1.0, abs=0.12)
    assert found["flow_with_given_input"] == pytest.approx(1.0, abs=0.12)
    assert found["input_peak"] == pytest.approx(found["given_input_peak"], rel=0.05)
    assert len(found["segments"]) == 6


def test_the_table_names_what_is_healthy(found):
    report = {"perfusion_dicom": {"RV": 0.9, "MYO": 0.8, "LV": 0.9}, "perfusion_qperf": {"rest": found}}
    assert "healthy 0.68" in table(report)
    assert f"{found['flow']:.2f} mL/min/g" in table(report)
