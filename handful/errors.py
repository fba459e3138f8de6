"""Every error a user can cause: what happened, where, and how to mend it.

The library raises these; only `handful.cli` turns them into text and an exit code.
"""


class HandfulError(Exception):
    """An expected error; `str(error)` reads "where: what. mend".

    Args:
        message: What is wrong, naming the offending value.
        where: File and line, option or key, as precise as known.
        mend: What the user can do about it, as a sentence.
    """

    def __init__(self, message: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head.rstrip('.')}. {self.mend}" if self.mend else head


class TaskError(HandfulError):
    """The task file or its labels are not usable."""


class DataError(HandfulError):
    """A file of texts (examples, test, texts to predict) is not usable."""


class RecipeError(HandfulError):
    """A recipe name, key or value is not usable."""


class ModelError(HandfulError):
    """The base model cannot be found, loaded, or given this prompt."""


class PromptTooLongError(ModelError):
    """A prompt has more tokens than the model reads."""


class RunError(HandfulError):
    """The run directory is in use, damaged, full, or of another task or recipe."""


class AdapterError(HandfulError):
    """A classifier directory is incomplete, damaged, or made for another base model."""


class Interrupted(HandfulError):
    """The user asked to stop; everything finished so far is saved."""
