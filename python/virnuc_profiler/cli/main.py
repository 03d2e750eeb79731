# SPDX-License-Identifier: MIT
"""``virnuc-profiler``: run a command and return its exit code. Errors become text only here.

Exit codes: 0, the command is done (a sweep also if some configurations failed); 2, it cannot be done as it was asked
for, because of an option, a file that it names, a device that is not there, or a token budget that cannot fit the
device; 3, `compare` has compared, and what ``--fail-on`` names holds; 1, anything else, Ctrl-C included, because a
sweep that was stopped is not done.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from virnuc_profiler import __version__
from virnuc_profiler.cli import baseline, compare, correlate, doctor, profile, project, report, sweep
from virnuc_profiler.cli.embed import embed_command
from virnuc_profiler.cli.export import export_command
from virnuc_profiler.cli.live import screen, terminal_text
from virnuc_profiler.cli.live.terminal_text import terminal_output
from virnuc_profiler.cli.options.arguments import EXIT_MISUSE, Parser
from virnuc_profiler.cli.options.rank_options import refuse_ranks_that_write
from virnuc_profiler.cli.terminal import say, set_quiet
from virnuc_profiler.errors import TelemetryFormatError, UsageError, VirnucError, WorkloadError
from virnuc_profiler.import_origins import explain_hidden_modules
from virnuc_profiler.inference.loading.interrupts import announced_interrupts

EXIT_FAILURE = 1

if TYPE_CHECKING:
    _TextStreamHandler = logging.StreamHandler[TextIO]
else:
    _TextStreamHandler = logging.StreamHandler  # Python 3.10 cannot subscript it

_MISUSE = (UsageError, WorkloadError, TelemetryFormatError)
_PROGRAM = "virnuc-profiler"
_MAX_MESSAGE = 8192
_STOPPING = b"Stopping: workers end, and what was measured is written ...\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a character that the terminal's encoding lacks must not end the command
            stream.reconfigure(errors="backslashreplace")
    with terminal_output():
        return _run_command(argv)


def _run_command(argv: Sequence[str] | None) -> int:
    try:
        arguments = build_parser().parse_args(argv)
        if arguments.command is None:
            build_parser().print_help()
            return _printed(EXIT_MISUSE)
    except SystemExit as stop:  # argparse has printed help, version or a mistake
        return _printed(stop.code if isinstance(stop.code, int) else EXIT_MISUSE)
    except OSError as error:  # the help cannot be written
        return _fail(_unwritable(error), False, EXIT_FAILURE)
    set_quiet(getattr(arguments, "quiet", False))
    arguments.argv = list(sys.argv[1:] if argv is None else argv)
    _log_to_stderr(logging.DEBUG if arguments.debug else logging.WARNING)
    try:
        with _signals_stop():
            refuse_ranks_that_write(arguments)
            code: int = arguments.run(arguments)
            sys.stdout.flush()
        return code
    except _MISUSE as error:
        return _fail(error, arguments.debug, EXIT_MISUSE)
    except BrokenPipeError:  # the reader of our output has left, e.g. head
        _give_up_stdout_if_broken()
        return EXIT_FAILURE
    except OSError as error:
        broken = _give_up_stdout_if_broken() or (error if _comes_from_print(error) else None)
        return _fail(_described(error) if broken is None else _unwritable(broken), arguments.debug, EXIT_FAILURE)
    except (VirnucError, MemoryError) as error:
        _give_up_stdout_if_broken()
        return _fail(error, arguments.debug, EXIT_FAILURE)
    except KeyboardInterrupt as stop:
        return _fail(_stopped(stop, arguments), False, EXIT_FAILURE)
    except Exception as error:
        if (explanation := explain_hidden_modules(error)) is not None:
            return _fail(explanation, arguments.debug, EXIT_FAILURE)
        return _fail(f"internal error, {type(error).__name__}: {error}", arguments.debug, EXIT_FAILURE)


def _open_missing_streams() -> None:
    """Open /dev/null for closed standard streams, so that no file gets their numbers and their output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog=_PROGRAM, description="Profile packed ESM-2 inference and find its fastest safe configuration."
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and the build, and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command in (
        sweep,
        profile,
        embed_command,
        project,
        report,
        compare,
        baseline,
        correlate,
        export_command,
        doctor,
    ):
        command.add_parser(commands)
    return parser


class _ShowVersion(argparse.Action):
    """Loads the compiled core only when the version is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from virnuc_profiler.capture.build_facts import build_facts

        print(f"{_PROGRAM} {__version__}\n{build_facts()}")
        parser.exit()


def _fail(error: BaseException | str, debug: bool, code: int) -> int:
    from virnuc_profiler.telemetry.values import printable  # needs NumPy, which --help does not

    if debug:
        print(_printable_lines(traceback.format_exc()), file=sys.stderr)
    message = printable(" ".join(str(error).split()), _MAX_MESSAGE) or type(error).__name__
    say(f"{_PROGRAM}: error: {message}")
    return code


def _give_up_stdout_if_broken() -> OSError | None:
    """Drop output that cannot be written: Python would try again at exit and turn our exit code into 120.

    Returns:
        Why it cannot be written; None if it can, or if its reader has left.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return None if isinstance(error, BrokenPipeError) else error
    return None


def _printed(code: int) -> int:
    """Return the exit code of a command that has only printed, unless its output cannot be written."""
    broken = _give_up_stdout_if_broken()
    return code if broken is None else _fail(_unwritable(broken), False, EXIT_FAILURE)


def _comes_from_print(error: OSError) -> bool:
    """Return whether an error was raised by print(), which happens where Python does not buffer its output."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (last.line or "").startswith("print(") or last.filename in (terminal_text.__file__, screen.__file__)


def _unwritable(error: OSError) -> str:
    return f"cannot write to standard output: {error.strerror or error}"


def _described(error: OSError) -> str:
    """Return an error of the operating system without its number, and with the file where it names one."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _stopped(stop: KeyboardInterrupt, arguments: argparse.Namespace) -> str:
    reason = f"stopped by {stop}" if str(stop) else "stopped"
    folder = getattr(arguments, "resume", None) or getattr(arguments, "output_dir", None)
    if arguments.command == "embed":
        from virnuc_profiler.embed.job import JOB_FILE

        if folder is None or not (Path(folder) / JOB_FILE).is_file():
            return reason
        return f"{reason}; complete shards are written, and embed --resume {folder} continues the job"
    if arguments.command not in ("sweep", "profile") or folder is None or not Path(folder).is_dir():
        return reason
    from virnuc_profiler.sweep.results.journal import JOURNAL_FILE

    hint = f"; sweep --resume {folder} continues it" if (Path(folder) / JOURNAL_FILE).is_file() else ""
    return f"{reason}; what was measured until then is in {folder}{hint}"


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, with everything written and closed.

    The handler says at once that the signal has arrived, because workers and the model's process take seconds to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    said = False

    def say() -> None:
        nonlocal said
        if not said:
            said = True
            with suppress(OSError):  # not print(), which the signal may have interrupted
                os.write(2, _STOPPING)

    def stop(number: int, _frame: object) -> None:
        say()
        raise KeyboardInterrupt(*(() if number == signal.SIGINT else (signal.Signals(number).name,)))

    ours = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler in ours}
    for number in before:
        signal.signal(number, stop)
    try:
        with announced_interrupts(say):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _StderrHandler(_TextStreamHandler):
    """Writes to the current ``sys.stderr``, which a live view replaces while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # as logging does it: a message that cannot be written must not end the command
            self.handleError(record)


class _PrintableFormatter(logging.Formatter):
    """Escapes control characters, since names from files must not control the terminal, even in tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return _printable_lines(super().format(record))


def _printable_lines(text: str) -> str:
    from virnuc_profiler.telemetry.values import printable

    return "\n".join(printable(line, _MAX_MESSAGE) for line in text.rstrip("\n").split("\n"))


def _log_to_stderr(level: int) -> None:
    logger = logging.getLogger("virnuc_profiler")
    logger.setLevel(level)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        handler = _StderrHandler()
        handler.setFormatter(_PrintableFormatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
