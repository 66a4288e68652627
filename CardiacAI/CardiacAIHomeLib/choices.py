"""What the user of any panel chooses to compute with; saved with the scene."""

import enum

from slicer.i18n import tr as _


class Engine(enum.Enum):
    """What computes. Scenes store the names: rename none of them."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"
    NUMPY = "numpy"

    def label(self) -> str:
        """Text in the combo box."""
        return {
            "auto": _("Automatic (fastest available)"),
            "openvino": _("OpenVINO"),
            "torch": _("PyTorch"),
            "numpy": _("NumPy (always available)"),
        }[self.value]


class Precision(enum.Enum):
    """Numbers the network computes with. Scenes store the names."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"

    def label(self) -> str:
        """Text in the combo box."""
        return {
            "f32": _("32 bit (reference)"),
            "bf16": _("16 bit, bfloat16 (OpenVINO only)"),
            "int8": _("8 bit, integers (OpenVINO only)"),
        }[self.value]


class SliceAxis(enum.Enum):
    """Array axis from slice to slice. Scenes store the names."""

    AUTO = "auto"
    I = "i"  # noqa: E741
    J = "j"
    K = "k"

    def label(self) -> str:
        """Text in the combo box."""
        return _("Automatic (largest spacing)") if self is SliceAxis.AUTO else self.name


def computing(parameters) -> dict[str, str | None]:
    """The choices of a parameter node as the logics take them."""
    axis = parameters.sliceAxis
    return {
        "engine": parameters.engine.value,
        "precision": parameters.precision.value,
        "sliceAxis": None if axis == SliceAxis.AUTO else axis.value,
    }
