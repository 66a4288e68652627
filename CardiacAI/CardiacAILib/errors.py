"""Errors a user can act on: each says what is wrong and what to do, and carries the exit code of the command."""


class CardiacAIError(Exception):
    """Base of every expected failure. Shown to the user as one message, never as a traceback."""

    exit_code = 1


class InputError(CardiacAIError):
    """The image cannot be used: unreadable, wrong kind, missing geometry, empty."""

    exit_code = 3


class OnePhaseError(InputError):
    """One phase of a heart beat where a cine is needed."""


class OutputError(CardiacAIError):
    """A result could not be written. Nothing is left under its final name."""

    exit_code = 4


class ModelError(CardiacAIError):
    """A model folder is missing, damaged or of a kind this version does not know."""

    exit_code = 5


class EngineError(CardiacAIError):
    """The requested inference engine is not available or failed."""

    exit_code = 6


class LicenseError(CardiacAIError):
    """The terms of a model have not been accepted yet."""

    exit_code = 7


class Cancelled(CardiacAIError):
    """The user stopped the job."""

    exit_code = 130
