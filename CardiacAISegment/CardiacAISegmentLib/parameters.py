"""What the user of Cardiac AI Segmentation chooses; saved with the scene."""

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

import CardiacAIHomeLib.path_field  # noqa: F401  (connects modelFolder)
from CardiacAIHomeLib.choices import Engine, Precision, SliceAxis


@parameterNodeWrapper
class CardiacAISegmentParameterNode:
    """Connected to the widgets whose SlicerParameterName in the .ui file is the name of a field.

    modelFolder: of a cine network; empty: the shipped one.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    wholeCine: bool = True
    updateAfterEdits: bool = True
    modelFolder: str = ""
    engine: Engine = Engine.AUTO
    precision: Precision = Precision.F32
    sliceAxis: SliceAxis = SliceAxis.AUTO
