"""What the user of Cardiac AI Perfusion chooses; saved with the scene. Insertions and levels are with the result."""

import enum
from typing import Annotated

from slicer import vtkMRMLSequenceNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from CardiacAIHomeLib.choices import Engine, Precision


class Unit(enum.Enum):
    """What voxels hold. Scenes store the names: rename none of them."""

    RECORDED = "recorded"
    SIGNAL = "signal"
    GADOLINIUM = "mmol/L"

    def label(self) -> str:
        """Text in the combo box."""
        return {
            "recorded": _("As recorded with the series"),
            "signal": _("Signal of the scanner"),
            "mmol/L": _("Gadolinium in mmol/L"),
        }[self.value]


class FlowModel(enum.Enum):
    """How blood flow is fitted. Scenes store the names."""

    EXCHANGE = "exchange"
    FERMI = "fermi"

    def label(self) -> str:
        """Text in the combo box."""
        return {"exchange": _("Blood-tissue exchange"), "fermi": _("Fermi deconvolution")}[self.value]


#: What is of a patient, and what it is until a user tells: share of cells in blood; s from frame to frame, 0 where the
#: series tell their times.
PATIENT = {"hematocrit": 0.42, "frameSeconds": 0.0}


@parameterNodeWrapper
class CardiacAIPerfusionParameterNode:
    """Connected to the widgets whose SlicerParameterName in the .ui file is the name of a field."""

    stress1: vtkMRMLSequenceNode
    stress2: vtkMRMLSequenceNode
    stress3: vtkMRMLSequenceNode
    rest1: vtkMRMLSequenceNode
    rest2: vtkMRMLSequenceNode
    rest3: vtkMRMLSequenceNode
    stressAif: vtkMRMLSequenceNode
    restAif: vtkMRMLSequenceNode
    outputTable: vtkMRMLTableNode
    unit: Unit = Unit.RECORDED
    aifUnit: Unit = Unit.RECORDED
    flowModel: FlowModel = FlowModel.EXCHANGE
    hematocrit: Annotated[float, WithinRange(0.1, 0.7)] = PATIENT["hematocrit"]
    frameSeconds: Annotated[float, WithinRange(0.0, 10.0)] = PATIENT["frameSeconds"]
    engine: Engine = Engine.AUTO
    precision: Precision = Precision.F32


#: The series of a pass, in the order they are chosen.
SERIES = {"stress": ("stress1", "stress2", "stress3"), "rest": ("rest1", "rest2", "rest3")}


def chosenSeries(parameters, kind: str) -> list:
    """Sequence nodes of a pass ("stress" or "rest"), each once."""
    chosen = (getattr(parameters, name) for name in SERIES[kind])
    return list({node.GetID(): node for node in chosen if node}.values())
