"""python -m CardiacAITraining.quantise: the ranges that let OpenVINO compute a cine network in 8-bit integers.

The network is shown the hearts it was trained on as at run time (`inference.look`): whole fields to find the heart and
the windows about it. The lowest and highest value of every picture that a convolution reads go into the model folder
(metadata.json, `int8_ranges`); `--precision int8` uses them. What it costs: `cardiacai-evaluate --precision int8`.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from CardiacAILib.engines import Preprocessing, load_model, open_engine
from CardiacAILib.engines.openvino_engine import import_openvino
from CardiacAILib.engines.openvino_int8 import inputs
from CardiacAILib.errors import CardiacAIError, InputError, ModelError
from CardiacAILib.images.writer import atomic_path
from CardiacAILib.inference import look

from .bundle import write_sums
from .data.cases import Case, listed, seen_by
from .data.sets import open_data


class Watched:
    """An engine that also notes the range of every picture a convolution reads."""

    def __init__(self, engine) -> None:
        self._engine, self._requests, self.ranges = engine, {}, {}

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def run(self, images: np.ndarray) -> np.ndarray:
        """See `Engine.run`."""
        request, names = self._request(images.shape[2:])
        for image in images:
            request.infer({0: image[None]})
            for name in names:
                values = request.get_tensor(name).data
                low, high = self.ranges.get(name, (np.inf, -np.inf))
                self.ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
        return self._engine.run(images)

    def _request(self, size: tuple[int, int]):
        if size not in self._requests:
            core = import_openvino().Core()
            network = core.read_model(model=self._engine.model.network, weights=b"")
            network.reshape({network.inputs[0].any_name: [1, 1, *size]})
            read = {name: operation.input_value(0) for operation, name in inputs(network)}
            network.add_outputs([value for value in read.values() if value.get_node().get_type_name() != "Parameter"])
            compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            self._requests[size] = compiled.create_infer_request(), list(read)
        return self._requests[size]


def ranges_of(model, cases: list[Case]) -> dict[str, tuple[float, float]]:
    """By name of the picture. Cases in which no heart is found are passed over; raises InputError if none is left."""
    engine = Watched(open_engine(model, "openvino"))
    looked = 0
    for case in cases:
        try:
            look(case.load()[0], engine)
            looked += 1
        except InputError as error:
            print(f"{case.patient} {case.phase}: {error}")
    if not looked:
        raise InputError("No heart was found in any of these images, so there are no ranges.")
    return engine.ranges


def put_into(folder: Path, ranges: dict[str, tuple[float, float]]) -> None:
    """Writes them into a model folder; its network stays as it is."""
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["int8_ranges"] = {name: [round(value, 5) for value in pair] for name, pair in sorted(ranges.items())}
    with atomic_path(path) as part:
        part.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    write_sums(folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m CardiacAITraining.quantise", description=__doc__)
    parser.add_argument("model", help="folder of a cine model; it is changed")
    parser.add_argument("data", type=Path, help="the data it was trained on")
    parser.add_argument("--patient-pattern", help="nnU-Net: see cardiacai-check-data")
    arguments = parser.parse_args(argv)
    try:
        model = load_model(arguments.model)
        if not isinstance(model.preprocessing, Preprocessing):
            raise ModelError(f"{model.name} is no cine network; int8 is for these.")
        cases = open_data(arguments.data, folds=1, patient_pattern=arguments.patient_pattern)
        known = listed({case.patient for case in cases}, seen_by(model.metadata.get("training")))
        used = [case for case in cases if case.patient in known and case.split == "train"]
        if not used:
            raise InputError(
                f"{model.name} was not trained on anyone in {arguments.data}. Give the data it learned from."
            )
        put_into(model.folder, ranges_of(model, used))
    except CardiacAIError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    print(f"{model.folder}: ranges from {len(known)} patients. Measure it: cardiacai-evaluate --precision int8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
