"""python -m CardiacAITraining.quantise: a cine network in 8-bit integers, for OpenVINO; what it costs is on the curve.

Needs NNCF, in an environment of its own: `pip install nncf` brings openvino-telemetry with it, which sends events; here
it is replaced by a stub. Scales come from slices of patients that the network was trained on.
"""

import argparse
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from CardiacAILib.engines import load_model, open_engine
from CardiacAILib.inference import grey_scale, look, normalise

from .data.sets import open_data


def silence_telemetry() -> None:
    """A package of that name which does nothing; NNCF cannot do without one."""

    class Telemetry:
        def __init__(self, *_, **__) -> None: ...

        def __getattr__(self, name: str):
            return lambda *_, **__: None

    stub = types.ModuleType("openvino_telemetry")
    stub.Telemetry = stub.TelemetryBackend = Telemetry
    sys.modules["openvino_telemetry"] = stub


def windows(model, data: Path, patients: int) -> Iterator[np.ndarray]:
    """Every second slice (1, 1, h, w) about the heart, of one phase of some patients the model was trained on."""
    engine = open_engine(model, "numpy")
    known = set(model.metadata["training"]["trained_on"])
    cases = [case for case in open_data(data) if case.patient in known]
    for index in np.random.default_rng(0).permutation(len(cases))[:patients]:
        stack, window, _ = look(cases[index].load()[0], engine)
        pixels = window.sample(stack.pixels)
        yield from normalise(pixels, grey_scale(pixels, model.preprocessing.percentiles))[::2, None, None]


def quantise(name_or_folder: str, data: Path, out: Path, patients: int = 30) -> None:
    """Writes OpenVINO's .xml and .bin. Convolutions in int8, a scale for each of their channels."""
    silence_telemetry()
    import nncf
    import openvino

    model = load_model(name_or_folder)
    slices = list(windows(model, data, patients))
    network = openvino.Core().read_model(model=model.network, weights=b"")
    network.reshape({network.inputs[0].any_name: [1, 1, *model.preprocessing.size]})
    # mixed: activations of leaky rectifiers are not symmetric about 0
    mixed = nncf.QuantizationPreset.MIXED
    small = nncf.quantize(network, nncf.Dataset(slices), preset=mixed, subset_size=len(slices))
    openvino.save_model(small, out, compress_to_fp16=False)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.quantise", description=__doc__)
    parser.add_argument("model", help="name of a shipped cine model, or a model folder")
    parser.add_argument("data", type=Path, help="the data it was trained on")
    parser.add_argument("-o", "--out", type=Path, required=True, help="OpenVINO file to write, .xml")
    arguments = parser.parse_args(argv)
    quantise(arguments.model, arguments.data, arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
