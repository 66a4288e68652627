"""What the user of Cardiac AI LV Mass chooses; saved with the scene. What is said of the patient is with the image."""

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

from CardiacAIHomeLib.choices import Engine, Precision, SliceAxis


@parameterNodeWrapper
class CardiacAIMassParameterNode:
    """Connected to the widgets whose SlicerParameterName in the .ui file is the name of a field."""

    inputVolume: vtkMRMLScalarVolumeNode
    outputSegmentation: vtkMRMLSegmentationNode
    findEndDiastole: bool = True
    engine: Engine = Engine.AUTO
    precision: Precision = Precision.F32
    sliceAxis: SliceAxis = SliceAxis.AUTO
