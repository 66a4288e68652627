"""Writes a trained network as a model folder: a MONAI bundle that torch, ONNX and Slicer users can all run.

Layout as in the MONAI Bundle Specification (https://docs.monai.io/en/stable/mb_specification.html), with LICENSE at the
top and SHA256SUMS over everything. The same weights give the same bytes.
"""

import hashlib
import json
from pathlib import Path

from . import cine_bundle, mass_bundle, perfusion_bundle

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"

#: What the caller's metadata must say; the rest is filled in here.
REQUIRED_METADATA = (
    "name",
    "version",
    "changelog",
    "task",
    "description",
    "intended_use",
    "authors",
    "copyright",
    "license",
    "data_source",
    "data_type",
    "eval_metrics",
)


def export_bundle(
    folder: str | Path,
    network_def: dict,
    state_dict: dict,
    metadata: dict,
    preprocessing: dict,
    card: str,
    license_text: str,
) -> Path:
    """Writes a model folder and returns its path. Existing files of the same names are replaced.

    network_def: MONAI configuration of a 2D network (`networks.network_definition`); one with BatchNorm takes `norm`.
    state_dict: its trained weights, any floating type. metadata: at least `REQUIRED_METADATA`; `license` is one short
    line; `confidence_limits`, by structure's key, and `agreement_limits` may be there, and `labels`, value -> name, of
    a network on whole slices that draws something else than RV, myocardium and LV cavity. preprocessing: of a perfusion
    network all of `engines.FramePreprocessing`; of the others `size` (rows, columns), `percentiles` (lower, upper) and
    either `spacing` mm, of a cine network, or `pixels` (low, high) mm, of one that is told their size. card: Markdown.
    license_text: terms of the weights.

    BatchNorm is folded into the convolutions and the result rounded to float16 once, so `model.pt` and `model.onnx`
    hold the very same numbers; `network_def` is written without its norm accordingly. To go on training, start from
    the checkpoint of the training run. Raises ValueError for missing metadata, labels that are not as many as the
    network's classes, a BatchNorm that cannot be folded, and weights or answers that are not finite. How large a folder
    may be is a question of what is shipped: `too_large`.
    """
    import torch
    from monai.bundle import ConfigParser

    from .onnx_export import fold_batch_norm, to_onnx

    kind = _kind(preprocessing)
    missing = [key for key in REQUIRED_METADATA if key not in metadata]
    if missing:
        raise ValueError(f"metadata lacks {', '.join(missing)}")

    def build(definition: dict):
        return ConfigParser({"network_def": definition}).get_parsed_content("network_def")

    described = kind.described(network_def, preprocessing, **_labels(kind, metadata))
    tensors = described["network_data_format"]
    inputs = {name: (t["num_channels"], *t["spatial_shape"]) for name, t in tensors["inputs"].items()}
    trained = build(network_def)
    trained.load_state_dict(state_dict)
    folded_def = network_def
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in trained.modules()):
        folded_def = network_def | {"norm": None}
    before = _example(trained, inputs)
    if before.shape[1] != tensors["outputs"]["pred"]["num_channels"]:
        raise ValueError(f"The network answers {before.shape[1]} classes, but labels are {described.get('labels')}.")
    after = _example(fold_batch_norm(trained), inputs)
    if not (after - before).abs().max() <= 1e-3 * before.abs().max() + 1e-5:  # also where one is not a number
        raise ValueError(f"{network_def['_target_']} answers otherwise, or no numbers, once BatchNorm is folded.")
    halves = {key: value.half().contiguous() for key, value in trained.state_dict().items()}
    for key, value in halves.items():
        if not value.isfinite().all():
            raise ValueError(f"{key} holds what float16 cannot: its weights are too large or no numbers.")
    network = build(folded_def)
    network.load_state_dict(halves)

    folder = Path(folder)
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").write_text(license_text, encoding="utf-8", newline="\n")
    (folder / "docs" / "README.md").write_text(card, encoding="utf-8", newline="\n")
    onnx = to_onnx(network, inputs)
    kept = _kept_ranges(folder, onnx)
    _write_json(folder / "configs" / "metadata.json", _metadata(metadata, described) | kept)
    _write_json(folder / "configs" / "inference.json", kind.inference(folded_def, preprocessing))
    torch.save(halves, folder / "models" / "model.pt")
    (folder / "models" / "model.onnx").write_bytes(onnx)
    write_sums(folder)
    return folder


def _kept_ranges(folder: Path, onnx: bytes) -> dict:
    """What `quantise` measured of the very network that is written again."""
    path = folder / "models" / "model.onnx"
    if not path.exists() or path.read_bytes() != onnx:
        return {}
    earlier = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return {"int8_ranges": earlier["int8_ranges"]} if "int8_ranges" in earlier else {}


def too_large(folder: str | Path, preprocessing: dict) -> str:
    """A sentence about a model folder that is larger than one that is shipped may be; "" for others."""
    limit = _kind(preprocessing).MAX_BYTES
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    if size <= limit:
        return ""
    return f"{folder} holds {size / 1e6:.2f} MB, more than the {limit / 1e6:.0f} MB that such a model may have to ship."


def _example(network, inputs: dict[str, tuple[int, ...]]):
    """What the network answers to noise, in eval mode."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return network.eval()(*(torch.rand(1, *shape, generator=generator) for shape in inputs.values()))


def _labels(kind, metadata: dict) -> dict:
    return {"labels": metadata["labels"]} if kind is cine_bundle and "labels" in metadata else {}


def _kind(preprocessing: dict):
    """The room that knows such networks."""
    if "frames" in preprocessing:
        return perfusion_bundle
    return mass_bundle if "pixels" in preprocessing else cine_bundle


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS over all other files, sorted by relative path; `sha256sum -c` reads it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    paths = sorted(path.relative_to(folder).as_posix() for path in files)
    lines = [f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _metadata(given: dict, described: dict) -> dict:
    from importlib.metadata import version

    return {
        "schema": _SCHEMA,
        **given,
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in ("nibabel", "pytorch-ignite")},
        **described,
    }
