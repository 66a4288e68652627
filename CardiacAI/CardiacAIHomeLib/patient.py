"""What a reader says of the patient. It is kept with the image, so that it never passes on to the next one."""

import contextlib
import json

#: Items of the combo box for sex, in their order in the .ui file.
SEXES = (None, "F", "M")


def record(node, **known) -> None:
    """Keeps what a reader says with a volume or a sequence of volumes. known: of `recorded`; None: unknown."""
    from CardiacAILib.mrml import patient_node, sequences

    node = patient_node(node)
    attributes = {
        "height": sequences.HEIGHT,
        "weight": sequences.WEIGHT,
        "heartRate": sequences.HEART_RATE,
        "sex": sequences.SEX,
    }
    for name, value in known.items():
        if value:
            node.SetAttribute(attributes[name], value if name == "sex" else repr(float(value)))
        else:
            node.RemoveAttribute(attributes[name])
    if known.get("heartRate"):
        remarks = json.loads(node.GetAttribute(sequences.REMARKS) or "[]")
        told = [remark for remark in remarks if not remark["code"].startswith("heart_rate")]
        if told != remarks:
            node.SetAttribute(sequences.REMARKS, json.dumps(told))


def recorded(node) -> dict:
    """What is known: "height" in meters, "weight" in kilograms, "sex" ("F", "M"), and of a cine "heartRate" per minute.

    :param node: volume or sequence of volumes; None where there is none
    """
    from CardiacAILib.errors import InputError
    from CardiacAILib.mrml import patient_of
    from CardiacAILib.mrml.sequences import empty_cine

    if node is None:
        return dict.fromkeys(("height", "weight", "sex", "heartRate"))
    rate = None
    if node.IsA("vtkMRMLSequenceNode"):
        with contextlib.suppress(InputError):  # told when somebody presses Apply
            rate = empty_cine(node).heart_rate
    return patient_of(node) | {"heartRate": rate}


class PatientBoxes:
    """The widgets of a panel that show and change it: heightSpinBox (cm), weightSpinBox (kg), and where a panel has
    them heartRateSpinBox (per minute) and sexComboBox. 0 and the first item stand for unknown.

    :param onChanged: called after the reader changed one and it was recorded
    """

    def __init__(self, ui, onChanged=lambda: None) -> None:
        self._onChanged, self._node = onChanged, None
        self._boxes = [("height", ui.heightSpinBox, 100), ("weight", ui.weightSpinBox, 1)]
        if hasattr(ui, "heartRateSpinBox"):
            self._boxes.append(("heartRate", ui.heartRateSpinBox, 1))
        self._sex = getattr(ui, "sexComboBox", None)
        for _name, box, _factor in self._boxes:
            box.connect("valueChanged(double)", self.onValueChanged)
        if self._sex:
            self._sex.connect("currentIndexChanged(int)", self.onSexChanged)

    def show(self, node) -> None:
        """node: volume or sequence of volumes that the panel is about; None where there is none."""
        self._node, known = node, recorded(node)
        for name, box, factor in self._boxes:
            with silent(box):
                box.value = _shown(known[name], factor, box)
        if self._sex:
            with silent(self._sex):
                self._sex.currentIndex = SEXES.index(known["sex"])

    def onValueChanged(self, value: float) -> None:
        if self._node is None:
            return
        known = recorded(self._node)
        for name, box, factor in self._boxes:
            if box.value != _shown(known[name], factor, box):
                record(self._node, **{name: box.value / factor or None})
        self._onChanged()

    def onSexChanged(self, index: int) -> None:
        if self._node is not None:
            record(self._node, sex=SEXES[index])
            self._onChanged()


@contextlib.contextmanager
def silent(widget):
    """Changes to a widget that the user did not make."""
    before = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(before)


def _shown(value: float | None, factor: int, box) -> float:
    """What a spin box shows of a value; 0 is shown as unknown."""
    return round(factor * (value or 0.0), box.decimals)
