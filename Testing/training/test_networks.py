"""One contract for every architecture, and what makes the seeds' networks theirs."""

from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from monai_runs import run_bundle

from CardiacAILib.engines import ENGINE_NAMES, Model, Preprocessing, available_engines, open_engine
from CardiacAITraining.deeplab import RESNETS, DeepLabV3
from CardiacAITraining.networks import NETWORKS, network_definition, open_network, padded
from CardiacAITraining.onnx_export import fold_batch_norm, to_onnx

AVAILABLE = [info.name for info in available_engines() if info.available]

#: Logits and answers have a standard deviation of 2. No engine may be further from double precision than this, or than
#: so many times eager torch's own rounding, which fifty narrow layers blow up to 5e-4.
TOLERANCE, TIMES = 1e-4, 4

#: Name -> arguments: narrow, else as in the recipes.
CASES = {
    "basic_unet": {
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 4,
        "features": [4, 4, 8, 8, 8, 4],
        "act": ["LeakyReLU", {"negative_slope": 0.1, "inplace": True}],
        "norm": "batch",
    },
    "seed_unet": {"channels": 3, "classes": 4, "widths": [4, 8, 8, 12, 12]},
    "seed_unet, one output": {"classes": 1, "widths": [4, 8, 8, 12, 12]},
    "deeplabv3": {"channels": 3, "classes": 4, "layers": 50, "stride": 16, "width": 4, "features": 8},
    "deeplabv3, stride 8": {"classes": 2, "layers": 18, "stride": 8, "width": 4, "features": 8},
    "ml4h_regressor": {"filters": 4, "depth": 3, "levels": 4, "hidden": 8},
    "ml4h_segmenter": {"filters": 4, "depth": 3, "levels": 4, "hidden": 8},
    "perfusion_unet": {"frames": 8, "features": [4, 8, 8], "deep": 2},
    "mass_regressor": {"features": [4, 8, 8, 8, 8], "deep": 8, "hidden": 8, "helpers": False},
    "mass_segmenter": {"features": [4, 8, 8, 12], "hidden": 8},
}


def test_every_network_is_here():
    assert {label.partition(",")[0] for label in CASES} == NETWORKS.keys()


def given(name: str, arguments: dict, side=(64, 96), n: int = 2) -> list[torch.Tensor]:
    """Smooth pictures (unlike white noise these give deep layers something to see) and numbers beside them."""
    generator = torch.Generator().manual_seed(n + side[0])
    shapes = list(NETWORKS[name].inputs(arguments, side).values())
    (channels, *slices), told = shapes[0][:-2], shapes[1:]
    depth = 3 * len(slices)  # a stack of another length than the one exported
    coarse = torch.rand(n, channels * max(depth, 1), side[0] // 8, side[1] // 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, side, mode="bicubic")
    images = images.reshape(n, channels, *(depth for _ in slices), *side)
    images = images * torch.linspace(0.5, 1.5, n).reshape(n, *(1,) * (images.ndim - 1))
    return [images, *(torch.randn(n, *shape, generator=generator) for shape in told)]


def _has_norm(network) -> bool:
    return any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """(name, arguments, a network that behaves like a trained one: settled BatchNorm, all labels in its answers)."""
    name, arguments = request.param.partition(",")[0], CASES[request.param]
    torch.manual_seed(20261121)
    network = open_network(name, **arguments)
    inputs = given(name, arguments, n=8 if _has_norm(network) else 2)
    last = [module for module in network.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d))][-1]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.momentum = 0.3
        for _ in range(15 if _has_norm(network) else 0):
            network(*inputs)
        answer = network.eval()(*inputs)
        answer = answer.reshape(len(answer), len(last.bias), -1).transpose(0, 1).flatten(1)
        factor = 2 / answer.std(1)
        last.weight.mul_(factor.reshape(-1, *(1,) * (last.weight.ndim - 1)))
        last.bias.copy_((last.bias - answer.mean(1)) * factor)
    return name, arguments, network


@pytest.fixture(scope="module")
def folded(case):
    """The network as it is exported: BatchNorm folded, weights rounded."""
    name, arguments, network = case
    state = fold_batch_norm(deepcopy(network)).state_dict()
    ready = open_network(name, **arguments | ({"norm": None} if _has_norm(network) else {})).eval()
    ready.load_state_dict({key: value.half() for key, value in state.items()})
    return ready


def test_forward_and_backward_reach_everything(case):
    name, arguments, network = case
    network, inputs = deepcopy(network).train(), given(name, arguments)
    answer = network(*inputs)
    if NETWORKS[name].target.endswith("Regressor"):
        assert answer.numel() == len(inputs[0])
    else:
        classes = arguments.get("classes", arguments.get("out_channels", answer.shape[1]))
        assert answer.shape == (len(inputs[0]), classes, *inputs[0].shape[2:])
    (answer * torch.randn(answer.shape)).sum().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), key
        assert weight.ndim == 1 or weight.grad.abs().max() > 0, key


def test_folding_keeps_the_answers(case, folded):
    name, arguments, network = case
    inputs = given(name, arguments)
    doubles = [array.double() for array in inputs]
    with torch.no_grad():
        expected = deepcopy(network).double()(*doubles)
        exact = fold_batch_norm(deepcopy(network).double())(*doubles)
        rounded = folded(*inputs)
    assert (exact - expected).abs().max() < 1e-9
    assert (rounded - expected).abs().mean() < 0.3  # of fifty narrow layers; of the others 0.03 at most
    assert not any("running" in key for key in folded.state_dict())


def test_a_checkpoint_brings_the_same_answers_back(case, tmp_path):
    name, arguments, network = case
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = open_network(name, **arguments).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    inputs = given(name, arguments)
    with torch.no_grad():
        assert torch.equal(network(*inputs), other(*inputs))


def test_monai_builds_it_from_its_definition(case):
    from monai.bundle import ConfigParser

    name, arguments, network = case
    built = ConfigParser({"network_def": network_definition(name, arguments)}).get_parsed_content("network_def")
    built.load_state_dict(network.state_dict())


@pytest.mark.parametrize("side", [(50, 70), (33, 95)])
def test_odd_sizes(case, side):
    """The network takes them or says what it wants; through `padded` all do."""
    name, arguments, network = case
    images, *told = given(name, arguments, (64, 96))
    images = images[..., : side[0], : side[1]]
    multiple = NETWORKS[name].side_multiple(arguments)
    with torch.no_grad():
        answer = padded(network, multiple, images, *told)
        regressor = NETWORKS[name].target.endswith("Regressor")
        assert answer.numel() == len(images) if regressor else answer.shape[2:] == images.shape[2:]
        if multiple == 1:
            assert torch.equal(network(images, *told), answer)
        else:
            with pytest.raises(ValueError, match=f"{side[0]} x {side[1]}.*multiples of {multiple}"):
                network(images, *told)


@pytest.fixture(scope="module")
def model(case, folded):
    name, arguments, _ = case
    shapes = NETWORKS[name].inputs(arguments, (32, 48))
    size = (3, 64, 96)[1 - len(shapes["image"]) :]
    model = Model(Path(), name, "0", "for tests", {}, Preprocessing(1.5, size, (1, 99)))
    model.__dict__["network"] = to_onnx(deepcopy(folded), shapes)
    return model


@pytest.fixture(scope="module")
def truths(case, folded):
    """(inputs, eager torch's answer, the same in double precision), twice: sides and numbers not exported with."""
    name, arguments, _ = case
    found = []
    for side, n in (((64, 96), 3), ((32, 32), 1)):
        inputs = given(name, arguments, side, n)
        with torch.no_grad():
            exact = deepcopy(folded).double()(*(array.double() for array in inputs))
            found.append((inputs, folded(*inputs).numpy(), exact.numpy()))
    return found


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_equal_labels_in_every_engine(case, truths, model, engine):
    """Only where two classes tie may labels differ."""
    if engine not in AVAILABLE:
        pytest.skip(f"{engine} is not installed")
    opened = open_engine(model, engine)
    for inputs, eager, exact in truths:
        found = opened.run(*(array.numpy() for array in inputs))
        assert found.shape == eager.shape and found.dtype == np.float32
        allowed = max(TOLERANCE, TIMES * np.abs(eager - exact).max())
        difference = np.abs(found - exact).max()
        print(
            f"{case[0]}, {engine}: {difference:.1e} from double precision, {np.abs(found - eager).max():.1e} from torch"
        )
        assert difference < allowed
        if eager.ndim > 2 and eager.shape[-1] > 1:
            if eager.shape[1] == 1:  # the logit of the one class against 0
                found, eager = (np.concatenate([0 * logits, logits], 1) for logits in (found, eager))
            assert len(np.unique(eager.argmax(1))) == eager.shape[1] or len(eager) == 1
            best = np.sort(eager, axis=1)
            differing = found.argmax(1) != eager.argmax(1)
            assert (best[:, -1] - best[:, -2])[differing].max(initial=0) < 4 * allowed
            assert differing.mean() < 1e-3


def test_a_network_with_batch_norm_after_nothing_cannot_be_folded():
    with pytest.raises(ValueError, match="follows no convolution"):
        fold_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("seed_net", {}, "no network 'seed_net'. Did you mean 'seed_unet'"),
        ("x", {}, "Choose one of: basic_unet"),
        ("seed_unet", {"width": [4]}, "takes no argument 'width'. Did you mean 'widths'"),
        ("deeplabv3", {"layers": 19}, "layers are 18, 34 or 50"),
        ("deeplabv3", {"stride": 4}, "stride is 8 or 16"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        open_network(name, **arguments)


# What makes them the seeds' networks


def count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_the_u_net_has_31_million_weights():
    """Each convolution k k a b + b, each BatchNorm 2 b."""
    widths = (64, 128, 256, 512, 1024)
    pairs = [(3, 64), *pairwise(widths)]
    expected = sum(9 * a * b + 9 * b * b + 6 * b for a, b in pairs)  # down
    expected += sum(4 * a * b + b + 9 * 2 * b * b + 9 * b * b + 6 * b for b, a in pairs[1:])  # up
    with torch.device("meta"):
        assert count(open_network("seed_unet", channels=3, classes=4)) == expected + 64 * 4 + 4
        one = count(open_network("seed_unet", classes=1))
    assert one == expected - 2 * 9 * 64 + 64 + 1
    assert round(one / 1e6, 1) == 31.0


@pytest.mark.parametrize(("layers", "published"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_the_encoder_is_the_published_resnet(layers, published):
    """He et al.'s ResNets, whose count includes a layer to 1000 classes; 23.5 million of ResNet-50 are without it."""
    deep = 2048 if layers == 50 else 512
    with torch.device("meta"):
        assert count(DeepLabV3(3, 4, layers).encoder) == published - 1000 * (deep + 1)


@pytest.mark.parametrize("layers", [18, 50])
@pytest.mark.parametrize("stride", [8, 16])
def test_dilation_makes_the_same_features_denser(layers, stride):
    """The definition of atrous: every second (fourth) feature is the strided ResNet's, of the same weights."""
    torch.manual_seed(0)
    network = DeepLabV3(1, 4, layers, stride, width=4, features=8).eval()
    block, counts = RESNETS[layers]
    given = {"spatial_dims": 2, "n_input_channels": 1, "conv1_t_stride": 2, "feed_forward": False}
    resnet = ResNet(block, list(counts), [4, 8, 16, 32], **given, bias_downsample=False)
    for one, other in zip(resnet.state_dict().values(), network.encoder.state_dict().values(), strict=True):
        assert one.shape == other.shape
        one.copy_(other)
    resnet.eval()
    x = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        dense = network.encoder(x)
        strided = resnet.maxpool(resnet.act(resnet.bn1(resnet.conv1(x))))
        for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
            strided = stage(strided)
    assert dense.shape[2:] == (64 // stride, 96 // stride)
    step = 32 // stride
    assert strided.abs().max() > 0.01
    assert torch.allclose(dense[..., ::step, ::step], strided, atol=1e-5)
    assert network.pyramid[3].conv.dilation == (18 * 16 // stride,) * 2


def test_deeplab_learns_from_two_pictures_at_least():
    network = open_network("deeplabv3", layers=18, width=4, features=8)
    with pytest.raises(ValueError, match="set batch to 2 or more"):
        network(torch.zeros(1, 1, 32, 32))
    assert network.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 4, 32, 32)


# As a model folder


def test_a_network_of_one_output_becomes_a_model_folder(probe_bundle_arguments, tmp_path):
    """MONAI runs it with sigmoid; a picture of the network's own pixels gives the labels of our engines."""
    import nibabel

    from CardiacAILib.engines import load_model
    from CardiacAITraining.bundle import export_bundle

    torch.manual_seed(3)
    arguments = {"classes": 1, "layers": 18, "stride": 16, "width": 4, "features": 8}
    network = open_network("deeplabv3", **arguments)
    network(torch.rand(4, 1, 64, 64))
    pixels = np.random.default_rng(0).random((3, 64, 64), np.float32)
    pixels = (pixels - pixels.min()) / np.ptp(pixels)
    with torch.no_grad():
        network.last.bias -= network.eval()(torch.from_numpy(pixels)[:, None]).median()
    labels = {"0": "background", "1": "LV region"}
    settings = probe_bundle_arguments | {
        "network_def": network_definition("deeplabv3", arguments | {"norm": "batch"}),
        "state_dict": network.state_dict(),
        "metadata": probe_bundle_arguments["metadata"] | {"labels": labels},
        "preprocessing": {"spacing": 1.5, "size": (64, 64), "percentiles": (0.0, 100.0)},
    }
    folder = export_bundle(tmp_path / "model", **settings)
    model = load_model(folder)
    assert model.metadata["labels"] == labels
    assert model.metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "LV region"}
    (tmp_path / "data").mkdir()
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(pixels.T, affine), tmp_path / "data" / "a.nii.gz")
    run_bundle(folder, tmp_path / "data", tmp_path / "out")
    theirs = np.asarray(nibabel.load(tmp_path / "out" / "a_labels.nii.gz").dataobj).T
    logits = open_engine(model, "numpy").run(pixels[:, None])[:, 0]
    assert 0.01 < (logits > 0).mean() < 0.99
    assert ((logits > 0) == theirs)[np.abs(logits) > TOLERANCE].all()

    settings["network_def"] = network_definition("deeplabv3", arguments | {"norm": "batch", "classes": 2})
    settings["state_dict"] = open_network("deeplabv3", **arguments | {"classes": 2}).state_dict()
    settings["metadata"] = probe_bundle_arguments["metadata"]  # whose labels are the library's four
    with pytest.raises(ValueError, match="answers 2 classes"):
        export_bundle(tmp_path / "other", **settings)
    with pytest.raises(ValueError, match="of one output draws one thing"):
        export_bundle(tmp_path / "other", **settings | {"network_def": network_definition("deeplabv3", arguments)})
