"""From a trained torch network to the ONNX bytes that every engine runs.

The graph is kept to seven operations (Conv, LeakyRelu, MaxPool, ConvTranspose, Concat, Add, GlobalAveragePool) on
float32 values. Weights are stored as float16 and cast to float32 by the graph itself: half the size, and no engine
needs half precision.
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


def to_onnx(network, inputs: dict[str, tuple[int, int, int]]) -> bytes:
    """ONNX of a network without BatchNorm: inputs (n, channels, h, w) -> `logits` (n, classes, h, w).

    inputs: name -> (channels, rows, columns) in the order `forward` takes them; rows and columns are an example,
    multiples of 16, or 1 and 1 of what is told beside a picture. n is dynamic, h and w too where they are not 1. A
    network whose answer is one pixel gives `answer` (n, k, 1, 1) instead. Raises ValueError when a weight is not
    exactly a float16 number: the caller rounds first, so that the torch and the ONNX model hold the same numbers.
    """
    import onnx
    import torch

    for _, rows, columns in inputs.values():
        if (rows, columns) != (1, 1) and (rows % SIDE_MULTIPLE or columns % SIDE_MULTIPLE):
            raise ValueError(f"{rows} x {columns} are not multiples of {SIDE_MULTIPLE}")
    for block in network.modules():
        if hasattr(block, "is_pad"):
            block.is_pad = False  # padding for odd sizes: never acts here, and fills the graph with shape arithmetic
    memory = io.BytesIO()
    examples = {name: torch.zeros(2, *shape) for name, shape in inputs.items()}
    with torch.no_grad():
        answer = network.eval()(*examples.values())
    output = "logits" if answer[0, 0].numel() > 1 else "answer"
    dynamic = {
        name: {0: "n"} | ({2: "h", 3: "w"} if array[0, 0].numel() > 1 else {})
        for name, array in (examples | {output: answer}).items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the new exporter needs onnxscript, for no better graph
        torch.onnx.export(
            network,
            tuple(examples.values()),
            memory,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(examples),
            output_names=[output],
            dynamic_axes=dynamic,
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
