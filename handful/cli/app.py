"""The commands together, the global options, and what each kind of error becomes: a message and an exit code."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from handful import __version__
from handful.cli import (
    audit_command,
    benchmark_command,
    data_command,
    estimate_command,
    info_commands,
    pipeline_commands,
    predict_command,
    report_command,
    task_commands,
)
from handful.cli.console import plain, say, tell, tell_error
from handful.errors import HandfulError, Interrupted

DONE, FAULT, MENDABLE, STOPPED = 0, 1, 2, 130
_STDIN = "-"


@dataclass
class Settings:
    """The global options."""

    debug: bool = False


app = typer.Typer(
    name="handful",
    help="From four labelled examples per class and one local LLM to a fast text classifier.",
    epilog="Start with: handful init examples.csv",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    task_commands,
    pipeline_commands,
    predict_command,
    report_command,
    audit_command,
    estimate_command,
    benchmark_command,
    data_command,
    info_commands,
):
    module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"handful {__version__}")
        raise typer.Exit()


@app.callback()
def _global_options(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done, on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if isinstance(context.obj, Settings):
        context.obj.debug = debug
    _log_to_stderr(logging.DEBUG if verbose else logging.WARNING)


class _PlainFormatter(logging.Formatter):
    """Spells out control characters: messages name files, which may be a stranger's."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def _log_to_stderr(level: int) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    logger = logging.getLogger("handful")
    # Anew each time: stderr may be another one than at the last call in this process.
    handler = RichHandler(console=Console(stderr=True, soft_wrap=True), show_path=False, show_time=level < 30)
    handler.setFormatter(_PlainFormatter())
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    if level > logging.DEBUG:  # what libraries tell their developers is not for our users
        warnings.filterwarnings("ignore", module=r"(transformers|peft|torch|accelerate)\b")


def execute(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; everything it has to say is on stdout and stderr."""
    _ready_streams()
    settings = Settings()
    command = typer.main.get_command(app)
    try:
        with _terminating_as_interrupt():
            result = command.main(args=list(argv), prog_name="handful", standalone_mode=False, obj=settings)
        code = result if isinstance(result, int) else DONE
        return _stopped("stopped at once", argv) if code == STOPPED else code
    except (KeyboardInterrupt, typer.Abort):
        return _stopped("stopped at once", argv)
    except Interrupted as error:
        return _stopped(error.message, argv)
    except HandfulError as error:
        if settings.debug:
            traceback.print_exc()
        tell_error(str(error))
        return MENDABLE
    except OSError as error:
        if settings.debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        tell_error(f"{where}{error.strerror or error}. Is that the path you meant, may you use it, and is there room?")
        return MENDABLE
    # Whatever else may happen must not greet the user with a page of Python.
    except Exception as error:  # noqa: BLE001
        return _unforeseen(error, argv, settings)


def _ready_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _stopped(message: str, argv: Sequence[str]) -> int:
    said, again = message.rstrip("."), "Go on with"
    if "predict" in argv and not _is_into_file(argv):
        said, again = "stopped", "Begin anew, with the same texts"
    elif "predict" in argv and _STDIN in argv:
        again = "Go on, with the same texts"
    tell_error(f"{said}. {again}:\n  {shlex.join(['handful', *_going_on(argv)])}")
    return STOPPED


def _going_on(argv: Sequence[str]) -> list[str]:
    """Return the command that goes on: `--force` would begin anew."""
    return [arg for arg in argv if arg != "--force"]


def _is_into_file(argv: Sequence[str]) -> bool:
    return any(arg.startswith(("-o", "--output=")) or arg == "--output" for arg in argv)


def _unforeseen(error: Exception, argv: Sequence[str], settings: Settings) -> int:
    # Usage errors of typer, which in some versions is click and in others has its own copy of it.
    if hasattr(error, "format_message"):
        context: Any = getattr(error, "ctx", None)
        message = error.format_message().replace("Value error, ", "")
        if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help
            tell(message)
        else:
            tell_error(f"{message.rstrip('.')}\nSee: {context.command_path if context else 'handful'} --help")
        return MENDABLE
    if settings.debug:
        traceback.print_exc()
    if _is_of_memory(error):
        return _out_of_memory(argv)
    first_line = (str(error).strip().splitlines() or [""])[0]
    again = shlex.join(["handful", "--debug", *_going_on(argv)])
    tell_error(
        f"this is a fault of handful, not yours: {type(error).__name__}: {first_line[:300]}\n"
        "Nothing finished before is lost; the same command goes on where it stopped. "
        f"For the details:\n  {again}"
    )
    return FAULT


def _is_of_memory(error: Exception) -> bool:
    # By name and words: torch's own error is known only where torch is, and on a CPU it is any RuntimeError.
    said = any(words in str(error) for words in ("can't allocate memory", "not enough memory"))
    return said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _out_of_memory(argv: Sequence[str]) -> int:
    less = "a classifier of a smaller model" if {"predict", "audit"} & {*argv} else "a smaller --model or shorter texts"
    tell_error(f"there is too little memory for this. On a GPU --load-in-4bit or --device cpu may help; else {less}.")
    return MENDABLE


@contextmanager
def _terminating_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C: what is being written is left whole."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
