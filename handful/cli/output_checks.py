"""What is checked of `-o` before anything is loaded: that nothing is overwritten that is not ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from handful.errors import RunError


def check_output(output: Path, source: str, *, force: bool) -> None:
    """Check that predictions of an input may be written to a file.

    Args:
        output: The file.
        source: The input: a path, or `"-"` for standard input.
        force: Whether a file may be replaced that holds no predictions.

    Raises:
        RunError: It is no file, or its folder is not there or a classifier; or it would take the place of the input or
            of what is not ours.
    """
    _check_place(output)
    _check_input(output, source)
    _check_content(output, force=force)


def _check_place(output: Path) -> None:
    from handful.classifier_files import SPEC_FILE

    where = str(output)
    if output.is_dir():
        raise RunError("this is a folder, not a file", where=where, mend="Name the file to write in it.")
    if output.exists() and not output.is_file():
        mend = "Leave out -o and send standard output there."
        raise RunError("this is a pipe or a device, and a file would take its place", where=where, mend=mend)
    if not output.parent.is_dir():
        raise RunError("its folder does not exist", where=where, mend="Make the folder, or name another file.")
    if (output.parent / SPEC_FILE).exists():
        message = "its folder is a classifier, which any other file in it damages"
        raise RunError(message, where=where, mend="Name a file in another folder.")


def _check_input(output: Path, source: str) -> None:
    from handful.reading.readers import source_name
    from handful.storage.outputs import stands_beside

    where = str(output)
    if output.exists() and _is_input(output, source):
        raise RunError("this is the input file", where=where, mend="Name another file for the predictions.")
    for path in stands_beside(output):
        if path.exists() and _is_input(path, source):
            message = f"the input {source_name(source)} is {path.name}, whose name is needed while this is written"
            raise RunError(message, where=where, mend="Rename the input, or name another file for the predictions.")


def _check_content(output: Path, *, force: bool) -> None:
    from handful.prediction_rows import holds_predictions

    if output.exists() and not force and not holds_predictions(output):
        mend = "Name another file, or replace this one with --force."
        raise RunError("the file is there already and holds no predictions", where=str(output), mend=mend)


def _is_input(path: Path, source: str) -> bool:
    if source != "-":
        return Path(source).exists() and path.samefile(source)
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdin.fileno()))
    except (OSError, ValueError):  # no standard input, or one that is no file
        return False
