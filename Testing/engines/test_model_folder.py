"""Loading model folders: what they say, and what happens to damaged ones."""

import json
import shutil

import pytest

from CardiacAILib.engines import load_model, open_engine, shipped_models
from CardiacAILib.errors import ModelError
from CardiacAITraining.bundle import too_large, write_sums


@pytest.fixture
def folder(probe_folder, tmp_path):
    return shutil.copytree(probe_folder, tmp_path / "copy")


def test_reads_what_the_bundle_says(probe_folder):
    model = load_model(probe_folder)
    assert (model.name, model.version, model.license) == ("probe", "0.0.1", "for tests")
    assert model.license_text == "Apache-2.0\n"
    spec = model.preprocessing
    assert (spec.spacing, spec.size, spec.percentiles) == (1.5, (128, 128), (1.0, 99.0))


def test_unknown_name_lists_the_known():
    with pytest.raises(ModelError, match="no model 'nonsense'"):
        load_model("nonsense")


def test_shipped_models_load_by_name_and_are_whole():
    for model in shipped_models():
        assert load_model(model.name).folder == load_model(model.folder).folder == model.folder
        assert model.network
        assert model.license_text


def test_what_is_shipped_stays_small():
    """One model 8 MB, the two LV mass networks that together, all of them 25 MB (design decision 2)."""
    for model in shipped_models():
        wanted = json.loads((model.folder / "configs" / "inference.json").read_text())["preprocessing"]["transforms"][0]
        assert too_large(model.folder, wanted) == ""
    assert "more than the 4 MB" in too_large(model.folder.parent, {"frames": 1})
    files = [path for path in model.folder.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25_000_000


@pytest.mark.skipif(not shipped_models(), reason="no model is shipped yet")
def test_a_folder_lying_about_does_not_replace_a_shipped_model(folder, monkeypatch):
    shipped = shipped_models()[0]
    folder.rename(folder.with_name(shipped.name))
    monkeypatch.chdir(folder.parent)
    assert load_model(shipped.name).folder == shipped.folder
    assert load_model(f"./{shipped.name}").name == "probe"


def test_a_folder_of_the_working_directory_is_still_found_from_another(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    model = load_model(folder.name)
    monkeypatch.chdir("/")
    assert model.network


@pytest.mark.parametrize("name", ["configs/metadata.json", "configs/inference.json", "models/model.onnx"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_damage_is_noticed(folder, name, harm):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "flip": lambda: path.write_bytes(content),
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "remove": path.unlink,
    }[harm]()
    with pytest.raises(ModelError, match="Reinstall CardiacAI"):
        open_engine(load_model(folder), "numpy")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe nothing"])
def test_sums_missing_or_damaged(folder, content):
    sums = folder / "SHA256SUMS"
    sums.unlink() if content is None else sums.write_bytes(content)
    with pytest.raises(ModelError, match="Reinstall CardiacAI"):
        load_model(folder)


def test_terms_in_another_encoding_are_told(folder):
    (folder / "LICENSE").write_bytes("Klinik Köln".encode("latin-1"))
    write_sums(folder)
    with pytest.raises(ModelError, match="LICENSE is not text in UTF-8"):
        _ = load_model(folder).license_text


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="not a complete model folder"):
        load_model(tmp_path)


def change(folder, name, edit):
    """Edits a JSON file of the model and signs it anew: not damaged, just other."""
    path = folder / "configs" / name
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    write_sums(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["preprocessing"]["transforms"].append({"_target_": "GaussianSmoothd", "keys": "image", "sigma": 1}),
        lambda c: c["preprocessing"]["transforms"].pop(),
        lambda c: c["preprocessing"]["transforms"][3].update(mode="nearest"),
        lambda c: c["preprocessing"]["transforms"][3].update(pixdim=[1.5, 1.5, 5.0]),
    ],
    ids=["one more", "one less", "other interpolation", "slices resampled"],
)
def test_preprocessing_this_version_does_not_know(folder, edit):
    change(folder, "inference.json", edit)
    with pytest.raises(ModelError, match="his version of CardiacAI"):
        load_model(folder)


@pytest.mark.parametrize("key", ["name", "version", "license"])
def test_metadata_lacking(folder, key):
    change(folder, "metadata.json", lambda content: content.pop(key))
    with pytest.raises(ModelError, match=key):
        load_model(folder)


def test_preprocessing_values_come_from_the_folder(folder):
    def edit(content):
        transforms = content["preprocessing"]["transforms"]
        transforms[3]["pixdim"] = [1.25, 1.25, -1.0]
        transforms[6]["spatial_size"] = [96, 160, -1]
        transforms[7].update(lower=0.5, upper=99.5)

    change(folder, "inference.json", edit)
    spec = load_model(folder).preprocessing
    assert (spec.spacing, spec.size, spec.percentiles) == (1.25, (96, 160), (0.5, 99.5))


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["preprocessing"]["transforms"][0].update(turn=90),
        lambda c: c["preprocessing"]["transforms"][0].pop("pixels"),
        lambda c: c["preprocessing"]["transforms"][0].update(pixels=[2.0, 1.3]),
        lambda c: c["preprocessing"]["transforms"][0].update(size=[96]),
        lambda c: c["preprocessing"]["transforms"].append({"_target_": "GaussianSmoothd", "keys": "image", "sigma": 1}),
    ],
    ids=["one setting more", "one less", "limits exchanged", "no columns", "one transform more"],
)
def test_pixel_preprocessing_this_version_does_not_know(mass_folders, tmp_path, edit):
    folder = shutil.copytree(mass_folders["regressor"], tmp_path / "copy")
    change(folder, "inference.json", edit)
    with pytest.raises(ModelError, match="his version"):
        load_model(folder)


def test_pixel_preprocessing_comes_from_the_folder(mass_folders, tmp_path):
    folder = shutil.copytree(mass_folders["regressor"], tmp_path / "copy")
    other = {"pixels": [1.0, 1.5], "size": [112, 96], "percentiles": [0.5, 99.5], "neighbours": 2}
    change(folder, "inference.json", lambda c: c["preprocessing"]["transforms"][0].update(other))
    spec = load_model(folder).preprocessing
    assert (spec.pixels, spec.size, spec.percentiles, spec.neighbours) == ((1.0, 1.5), (112, 96), (0.5, 99.5), 2)
