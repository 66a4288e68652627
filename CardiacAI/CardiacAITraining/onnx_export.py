"""From a trained torch network to the ONNX bytes that every engine runs.

The graph is kept to the few operations that `CardiacAILib.engines.graph` knows, on float32 values. Weights are stored
as float16 and cast to float32 by the graph itself: half the size, and no engine needs half precision.
"""

import io
import warnings

OPSET = 17

#: Sides of pictures must be multiples of this: four poolings by two.
SIDE_MULTIPLE = 16


def fold_batch_norm(network):
    """Folds each BatchNorm, in place, into the convolution before it, and returns the network, in eval mode.

    "Before" is in the order in which layers were made, as in MONAI's blocks and ResNets; `bundle` compares what the
    network answers before and after. Its state dict is then that of the same network built with `norm=None`. Raises
    ValueError for a BatchNorm that follows something else.
    """
    from torch import nn
    from torch.nn.utils import fuse_conv_bn_eval

    network.eval()
    parents = {
        f"{name}.{child}" if name else child: (module, child)
        for name, module in network.named_modules()
        for child, _ in module.named_children()
    }
    before = None
    for name, layer in network.named_modules():
        if any(layer.children()):
            continue
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
            convolution = network.get_submodule(before) if before else None
            if not isinstance(convolution, kinds) or convolution.out_channels != layer.num_features:
                raise ValueError(f"{name} follows no convolution that it could be folded into.")
            for path, new in ((before, fuse_conv_bn_eval(convolution, layer)), (name, nn.Identity())):
                parent, child = parents[path]
                setattr(parent, child, new)
        before = name
    return network


def to_onnx(network, inputs: dict[str, tuple[int, ...]]) -> bytes:
    """ONNX of a network without BatchNorm: inputs (n, channels, h, w) -> `logits` (n, classes, h, w).

    inputs: name -> (channels, rows, columns), or (channels, slices, rows, columns) of a 3D network, in the order
    `forward` takes them; sides are an example, rows and columns multiples of 16, or all 1 of what is told beside a
    picture. n is dynamic, sides too where they are not all 1. A network that answers numbers gives `answer` instead,
    (n, k, 1, 1) or (n,). Raises ValueError when a weight is not exactly a float16 number: the caller rounds first, so
    that the torch and the ONNX model hold the same numbers.
    """
    import onnx
    import torch

    for _, *sides in inputs.values():
        if set(sides) != {1} and any(side % SIDE_MULTIPLE for side in sides[-2:]):
            raise ValueError(f"{' x '.join(map(str, sides))}: rows and columns must be multiples of {SIDE_MULTIPLE}")
    for block in network.modules():
        if hasattr(block, "is_pad"):
            block.is_pad = False  # padding for odd sizes: never acts here, and fills the graph with shape arithmetic
    memory = io.BytesIO()
    examples = {name: torch.zeros(2, *shape) for name, shape in inputs.items()}
    with torch.no_grad():
        answer = network.eval()(*examples.values())
    output = "logits" if _is_picture(answer) else "answer"
    dynamic = {name: _dynamic_axes(array) for name, array in (examples | {output: answer}).items()}
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


def _is_picture(array) -> bool:
    return array.ndim > 2 and array[0, 0].numel() > 1


def _dynamic_axes(array) -> dict[int, str]:
    sides = "dhw"[5 - array.ndim :] if _is_picture(array) else ""
    return {0: "n"} | dict(enumerate(sides, start=2))


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
