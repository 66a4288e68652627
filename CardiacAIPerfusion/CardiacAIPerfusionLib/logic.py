"""First-pass perfusion, without any GUI: for the panel, for scripts and for other modules."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from CardiacAIHomeLib.job_logic import JobLogic

from .parameters import CardiacAIPerfusionParameterNode

DEFAULT_MODEL = "perfusion"


class CardiacAIPerfusionLogic(JobLogic):
    """Analyzes first passes in a process of its own, so that neither a crash nor a long job touches the scene.

    In a script::

        from CardiacAIPerfusion import CardiacAIPerfusionLogic
        logic = CardiacAIPerfusionLogic()
        stress = logic.openPass(["stress_folder"], "stress")
        rest = logic.openPass(["rest_folder"], "rest")
        nodes, study = logic.process(stress, rest)
    """

    def getParameterNode(self) -> CardiacAIPerfusionParameterNode:
        """The module's parameters in the current scene."""
        return CardiacAIPerfusionParameterNode(super().getParameterNode())

    @staticmethod
    def openPass(
        paths: Sequence[str],
        name: str = "",
        *,
        unit: str | None = None,
        frameSeconds: float | None = None,
        isAif: bool = False,
    ):
        """Reads a first pass into the scene: DICOM folders, 2D+T NIfTI or .seq.nrrd. Returns its sequence nodes.

        :param paths: of one pass, files or folders
        :param name: of the nodes; by default that of the first path
        :param unit: "signal" or "mmol/L"; None: as the files tell
        :param frameSeconds: from frame to frame, for files that do not tell their times
        :param isAif: a series of the blood, of one slice only
        :raises CardiacAILib.errors.InputError: what is wrong with the files
        """
        from CardiacAILib.mrml import first_pass_from_files, first_pass_to_sequences

        first_pass = first_pass_from_files(paths, unit=unit, frame_seconds=frameSeconds, is_aif=isAif)
        name = name or os.path.basename(os.path.normpath(paths[0])).split(".")[0]
        return [nodes[0] for nodes in first_pass_to_sequences(first_pass, slicer.mrmlScene, name)]

    def process(self, stress=(), rest=(), tableNode=None, *, timeoutSeconds: float = 3600.0, **options):
        """Analyzes and waits; the application stays live meanwhile.

        :param options: see `start`
        :returns: `CardiacAILib.mrml.PerfusionNodes`, `CardiacAILib.perfusion.results.PerfusionStudy`
        :raises CardiacAILib.errors.CardiacAIError: what is wrong and what to do, as text
        """
        return self._wait(self.start, stress, rest, tableNode, timeoutSeconds=timeoutSeconds, **options)

    def start(
        self,
        stress: Sequence = (),
        rest: Sequence = (),
        tableNode=None,
        *,
        stressAif=None,
        restAif=None,
        unit: str | None = None,
        aifUnit: str | None = None,
        frameSeconds: float | None = None,
        flowModel: str = "exchange",
        hematocrit: float | None = None,
        model: str = DEFAULT_MODEL,
        engine: str = "auto",
        precision: str = "f32",
        onProgress: Callable[[float, str], None] = lambda fraction, text: None,
        onDone: Callable = lambda nodes, study: None,
        onError: Callable[[Exception, str], None] = lambda error, details: None,
    ) -> None:
        """Starts a job and returns; call `poll` regularly, from which the callbacks are called.

        Exactly one of onDone and onError ends the job. Nodes are made and changed only when the result is there: a job
        that is cancelled or fails leaves the scene as it was.

        :param stress: sequences of one slice, up to three, or one of up to three; or the volumes that show them
        :param rest: likewise; one of the two may be empty
        :param tableNode: segments table of an earlier study, which is replaced; None makes a new one
        :param stressAif: low-dose or dual-sequence series of the blood, where there is one; likewise restAif
        :param unit: "signal" or "mmol/L"; None: as recorded with the sequences. Likewise aifUnit
        :param frameSeconds: from frame to frame, for sequences whose index is no time; others keep theirs
        :param flowModel: "exchange" or "fermi"
        :param hematocrit: of the patient's blood; None: .42
        :param engine: "auto", "openvino", "torch" or "numpy"
        :param precision: "f32", "bf16" or "int8"
        :raises CardiacAILib.errors.CardiacAIError: unusable series, terms not accepted, process does not start
        """
        from CardiacAILib import mrml
        from CardiacAILib.errors import InputError
        from CardiacAILib.perfusion.kinetics import HEMATOCRIT

        if not stress and not rest:
            raise InputError(_("Choose the series of a first pass under stress, at rest, or of both."))
        told = {"unit": unit, "aif_unit": aifUnit, "frame_seconds": frameSeconds}
        passes = [
            mrml.first_pass_from_sequences(series, aif, **told) if series else None
            for series, aif in ((rest, restAif), (stress, stressAif))
        ]
        worker = self._worker([model])
        number = worker.perfusion(
            *passes,
            model=model,
            engine=engine,
            precision=precision,
            flow_model=flowModel,
            hematocrit=HEMATOCRIT if hematocrit is None else hematocrit,
        )
        first = self.sequenceOf([*stress, *rest][0])
        output = tableNode.GetID() if tableNode else None
        self._job = PerfusionJob(number, first.GetID(), output, onProgress, onDone, onError)

    def measureAgain(self, tableNode, *, timeoutSeconds: float = 3600.0):
        """Measures again after contours were edited, and waits; the application stays live meanwhile.

        :returns: as `process`; the study is without the voxels of its series
        :raises CardiacAILib.errors.CardiacAIError: see `startAgain`
        """
        return self._wait(self.startAgain, tableNode, timeoutSeconds=timeoutSeconds)

    def startAgain(
        self,
        tableNode,
        *,
        onProgress: Callable[[float, str], None] = lambda fraction, text: None,
        onDone: Callable = lambda nodes, study: None,
        onError: Callable[[Exception, str], None] = lambda error, details: None,
    ) -> None:
        """Starts to measure flow with the contours as they are drawn now; the rest is as for `start`.

        Motion is not corrected again and the network is not asked. Levels and insertions by hand stay.

        :param tableNode: segments table of the study, whose numbers and maps are replaced
        :raises CardiacAILib.errors.CardiacAIError: no result, no edited contours, process does not start
        """
        from CardiacAILib.mrml import drawn_contours

        study, contours, hands = drawn_contours(tableNode)
        number = self._worker([]).perfusion_again(
            study,
            contours,
            levels={kind: hand.levels for kind, hand in hands.items()},
            insertions={kind: hand.insertions for kind, hand in hands.items()},
            swap={kind: hand.swap for kind, hand in hands.items()},
        )
        self._job = AgainJob(number, tableNode.GetID(), onProgress, onDone, onError)

    @staticmethod
    def result(tableNode):
        """`CardiacAILib.mrml.PerfusionNodes` of a study, by its segments table; without any where it is none."""
        from CardiacAILib.mrml import perfusion_nodes

        return perfusion_nodes(tableNode)

    @staticmethod
    def study(tableNode, withSeries: bool = False):
        """The `PerfusionStudy` of a segments table. Raises InputError where it is none."""
        from CardiacAILib.mrml import study_of

        return study_of(tableNode, withSeries)[0]

    @staticmethod
    def levels(tableNode) -> dict[str, tuple[str | None, ...]]:
        """Levels that a reader chose, as `divideAgain` takes them. Raises InputError where the record is damaged."""
        from CardiacAILib.mrml import levels_by_hand

        return levels_by_hand(tableNode)

    @staticmethod
    def divideAgain(tableNode, levels: Mapping[str, Sequence[str | None]] | None = None, swap: bool = False):
        """Segments and numbers by the insertion points as they lie now. Flow is not computed anew.

        :param levels: by kind of pass, "base", "mid", "apex", "" (left out) or None (as found) for every slice
        :param swap: anterior and inferior insertions change their parts
        :returns: the study; None where nothing has changed
        :raises CardiacAILib.errors.InputError: no result, or levels that are none
        """
        from CardiacAILib.mrml import divide_again

        return divide_again(tableNode, levels=levels, swap=swap)

    @staticmethod
    def saveReport(tableNode, folder: str) -> None:
        """Writes report, tables and pictures of a study into a folder.

        :raises CardiacAILib.errors.CardiacAIError: no result, series that were removed, a folder that takes no files
        """
        from CardiacAILib.mrml import study_of
        from CardiacAILib.report import write_perfusion_report

        write_perfusion_report(folder, study_of(tableNode)[0], tableNode.GetName())


@dataclass
class PerfusionJob:
    """First passes on their way through the process. Their nodes are written at the end.

    sequenceID: of the series beside which the results will lie.
    """

    number: int
    sequenceID: str
    tableID: str | None
    onProgress: Callable[[float, str], None]
    onDone: Callable
    onError: Callable[[Exception, str], None]

    def finish(self, study) -> None:
        """study: `CardiacAILib.perfusion.results.PerfusionStudy`."""
        from CardiacAILib import mrml
        from CardiacAILib.errors import CardiacAIError, InputError

        scene = slicer.mrmlScene
        sequence = scene.GetNodeByID(self.sequenceID)
        try:
            if sequence is None:
                raise InputError(_("The series was removed while it was being analyzed."))
            output = scene.GetNodeByID(self.tableID) if self.tableID else None
            nodes = mrml.study_to_nodes(study, mrml.browse(sequence)[1], output)
        except CardiacAIError as error:
            self.onError(error, "")
            return
        self.onDone(nodes, study)

    def fail(self, error: Exception, details: str, keep: bool = True) -> None:
        """Nothing is there that could be kept."""
        self.onError(error, details)


@dataclass
class AgainJob:
    """A study with other contours on its way through the process. Its nodes are changed at the end."""

    number: int
    tableID: str
    onProgress: Callable[[float, str], None]
    onDone: Callable
    onError: Callable[[Exception, str], None]

    def finish(self, study) -> None:
        """study: `CardiacAILib.perfusion.results.PerfusionStudy`."""
        from CardiacAILib import mrml
        from CardiacAILib.errors import CardiacAIError, InputError

        tableNode = slicer.mrmlScene.GetNodeByID(self.tableID)
        try:
            if tableNode is None:
                raise InputError(_("The result was removed while it was being measured again."))
            study = mrml.measured_to_nodes(study, tableNode)
        except CardiacAIError as error:
            self.onError(error, "")
            return
        self.onDone(mrml.perfusion_nodes(tableNode), study)

    def fail(self, error: Exception, details: str, keep: bool = True) -> None:
        """Nothing has changed."""
        self.onError(error, details)


def bullseye(study, name: str, width: int = 320) -> bytes:
    """PNG of the 16 segments. name: "stress", "rest" or "reserve", of what `bullseyes` tells."""
    from CardiacAILib.report.bullseye import bullseye_png

    return bullseye_png(_bullseyes(study)[name], width)


def bullseyes(study) -> list[str]:
    """What there is to draw: "stress", "rest", "reserve"."""
    return [name for name in ("stress", "rest", "reserve") if name in _bullseyes(study)]


def _bullseyes(study) -> dict:
    from CardiacAILib.report.perfusion_figures import perfusion_bullseyes

    names = [one.kind for one in study.passes] + ["reserve"] * bool(study.reserve_of)
    return dict(zip(names, perfusion_bullseyes(study), strict=True))
