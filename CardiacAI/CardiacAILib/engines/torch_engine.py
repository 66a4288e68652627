"""The engine for CUDA, where PyTorch is there already. Needs neither MONAI nor the onnx package."""

import numpy as np

from ..errors import EngineError
from .engine import Engine
from .graph import Node
from .model import Model


def cuda_works() -> bool:
    """Whether PyTorch can really compute on a GPU: an old driver or card shows only when used."""
    import torch

    try:
        return torch.cuda.is_available() and float((torch.ones(2, device="cuda") * 2).sum()) == 4.0
    except torch.OutOfMemoryError:
        return True  # it works, but is full: loading the weights will tell, and say so
    except RuntimeError:
        return False


class TorchEngine(Engine):
    """f32 on the GPU if one works, else on the CPU. Out of GPU memory: goes on on the CPU, and says so in `notes`."""

    name = "torch"
    batch = 8

    def __init__(self, model: Model, device: str | None = None) -> None:
        super().__init__(model, "f32", device or ("CUDA" if cuda_works() else "CPU"))
        self._load()

    def _load(self) -> None:
        import torch

        self._torch_device = torch.device(self.device.lower())
        try:
            self._weights = {
                node.output: [self._to_device(array.copy()) for array in (node.weight, node.bias)]
                for node in self._graph.nodes
                if node.weight is not None
            }
        except torch.OutOfMemoryError:
            self._give_up_gpu()

    def _to_device(self, array: np.ndarray):
        import torch

        return torch.from_numpy(array).to(self._torch_device)

    def _give_up_gpu(self) -> None:
        import torch

        torch.cuda.empty_cache()
        self.notes.append("The GPU ran out of memory; computed on the CPU instead.")
        self.device = "CPU"
        self._load()

    def _run(self, *inputs: np.ndarray) -> np.ndarray:
        import torch

        try:
            return self._compute(*inputs)
        except torch.OutOfMemoryError:
            self._give_up_gpu()
            return self._compute(*inputs)
        except RuntimeError as error:
            raise EngineError(
                f"PyTorch failed: {error}. Choose the engine openvino or numpy (--engine openvino, --engine numpy)."
            ) from error

    def _compute(self, *inputs: np.ndarray) -> np.ndarray:
        import torch

        # cuDNN would otherwise compute f32 convolutions in TF32, ten bits of mantissa
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            values = dict(zip(self._graph.inputs, map(self._to_device, inputs), strict=True))
            for index, node in enumerate(self._graph.nodes):
                values[node.output] = self._apply(node, [values[name] for name in node.inputs])
                for name in node.inputs:
                    if self._last_use[name] == index:
                        values.pop(name, None)
            return values[self._graph.output].cpu().numpy()

    def _apply(self, node: Node, images: list):
        import torch
        from torch.nn import functional

        match node.op:
            case "Conv" | "ConvTranspose":
                weight, bias = self._weights[node.output]
                kind, sides = ("conv_transpose" if node.op == "ConvTranspose" else "conv"), weight.ndim - 2
                given = {"stride": node.strides, "padding": node.pads, "dilation": node.dilations}
                return getattr(functional, f"{kind}{sides}d")(images[0], weight, bias, **given)
            case "LeakyRelu":
                return functional.leaky_relu(images[0], node.slope)
            case "MaxPool":
                pool = functional.max_pool2d if len(node.kernel) == 2 else functional.max_pool3d
                return pool(images[0], node.kernel, node.strides, node.pads)
            case "Concat":
                return torch.cat(images, dim=1)
            case "Add":
                return images[0] + images[1]
            case "Mul":
                return images[0] * images[1]
            case "Softplus":
                return functional.softplus(images[0])
            case "Tanh":
                return torch.tanh(images[0])
            case "GlobalAveragePool":
                return images[0].mean(tuple(range(2, images[0].ndim)), keepdim=True)
            case "Expand":
                return images[0].expand(-1, -1, *images[1].shape[2:])
            case "Resize":
                linear = "bilinear" if len(node.scales) == 2 else "trilinear"
                return functional.interpolate(
                    images[0], scale_factor=node.scales, mode=linear if node.linear else "nearest"
                )
            case "Reshape":
                return images[0].reshape(-1)
