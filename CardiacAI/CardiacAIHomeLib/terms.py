"""The terms of the models' weights: shown, and asked for once per model and text of its terms."""

import slicer
from slicer.i18n import tr as _


def accepted(models) -> bool:
    """Whether the user accepts the terms of these models; one question for all that were not accepted before.

    :param models: of `CardiacAILib.engines.Model`
    """
    from CardiacAILib import consent

    new = [model for model in models if not consent.accepted(model)]
    if not new:
        return True
    question = (
        _("The weights of the model {name} may be used under these terms:\n\n{terms}\n\nDo you accept?")
        if len(new) == 1
        else _("The weights of the models {name} may be used under these terms:\n\n{terms}\n\nDo you accept them all?")
    )
    if not slicer.util.confirmOkCancelDisplay(
        question.format(name=_names(new), terms=_summaries(new)),
        windowTitle=_("Terms of use"),
        detailedText=_texts(new),
    ):
        return False
    for model in new:
        consent.accept(model)
    return True


def show(models) -> None:
    """Shows the terms without asking."""
    slicer.util.infoDisplay(_summaries(models), windowTitle=_names(models), detailedText=_texts(models))


def _names(models) -> str:
    return ", ".join(model.name for model in models)


def _summaries(models) -> str:
    """The terms in a line each; with the models' names where they differ."""
    return "\n".join(_byTerms(models, lambda model: model.license, "{names}: {text}"))


def _texts(models) -> str:
    return "\n\n\n".join(_byTerms(models, lambda model: model.license_text, "{names}\n\n{text}"))


def _byTerms(models, terms, form: str) -> list[str]:
    """Equal terms once."""
    found = {}
    for model in models:
        found.setdefault(terms(model), []).append(model)
    if len(found) == 1:
        return list(found)
    return [form.format(names=_names(some), text=text) for text, some in found.items()]
