"""From a trained torch network to the ONNX bytes that every engine runs.

The graph is kept to five operations (Conv, LeakyRelu, MaxPool, ConvTranspose, Concat) on float32 values. Weights are
stored as float16 and cast to float32 by the graph itself: half the size, and no engine needs half precision.
"""

import io
import warnings

OPSET = 17

#: Network sides must be multiples of this: four poolings by two.
SIDE_MULTIPLE = 16


def fold_batch_norm(network):
    """Folds each BatchNorm of a MONAI network, in place, into the convolution before it. Returns the network.

    network: built of `monai.networks.blocks.Convolution`, trained. Afterwards it computes what it computed in eval
    mode, and its state dict is that of the same network built with `norm=None`.
    """
    from monai.networks.blocks import Convolution
    from torch.nn.utils import fuse_conv_bn_eval

    network.eval()
    for block in network.modules():
        if isinstance(block, Convolution) and hasattr(block, "adn") and hasattr(block.adn, "N"):
            block.conv = fuse_conv_bn_eval(block.conv, block.adn.N)
            del block.adn.N
    return network


def to_onnx(network, rows: int, columns: int) -> bytes:
    """ONNX of a `BasicUNet` without BatchNorm: `image` (n, 1, h, w) -> `logits` (n, classes, h, w), all but 1 dynamic.

    rows, columns: an example size, multiples of 16. Raises ValueError when a weight is not exactly a float16 number:
    the caller rounds first, so that the torch and the ONNX model hold the same numbers.
    """
    import onnx
    import torch

    if rows % SIDE_MULTIPLE or columns % SIDE_MULTIPLE:
        raise ValueError(f"{rows} x {columns} are not multiples of {SIDE_MULTIPLE}")
    for block in network.modules():
        if hasattr(block, "is_pad"):
            block.is_pad = False  # padding for odd sizes: never acts here, and fills the graph with shape arithmetic
    memory = io.BytesIO()
    axes = {0: "n", 2: "h", 3: "w"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the new exporter needs onnxscript, for no better graph
        torch.onnx.export(
            network.eval(),
            torch.zeros(2, 1, rows, columns),
            memory,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": axes, "logits": axes},
        )
    model = onnx.load_from_string(memory.getvalue())
    _halve_weights(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _halve_weights(graph) -> None:
    """Stores float32 initialisers as float16, each followed by a Cast."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            raise ValueError(f"{tensor.name} does not fit float16 exactly")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
