"""The command ``mlfeat``: compare, fit, evaluate, convert, benchmark."""

import argparse
import os
import shlex
import sys
import warnings

import mlfeat
from mlfeat.cli import _benchmark, _compare, _convert, _evaluate, _fit
from mlfeat.cli._errors import UsageError, one_line, show_warning
from mlfeat.cli._options import HelpFormatter

__all__ = ["main"]

DESCRIPTION = """\
Machine-learning interatomic potentials: fit them to energies, forces and
stresses, compare them, and exchange them with the original programs.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments, without the name of the program; None takes those of the process.

    Returns
    -------
    int
        Exit code: 0 if all went well, 1 if a fit or a file could not be completed, 2 for wrong usage or bad
        input, 130 after Ctrl-C. Errors are one line on stderr; with ``MLFEAT_DEBUG=1`` in the
        environment they are raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            return _run(argv)
    except SystemExit as done:  # argparse after --help and --version
        return done.code or 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader, as in `mlfeat ... | head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        return _fail(error, 2)
    except Exception as error:
        return _fail(f"{type(error).__name__}: {one_line(error)}", 1)


def _run(argv):
    args = _parser().parse_args(argv)
    args.command = shlex.join(["mlfeat", *(sys.argv[1:] if argv is None else argv)])
    code = args.run(args) or 0
    sys.stdout.flush()  # here, where a broken pipe is handled
    return code


def _fail(message, code):
    if os.environ.get("MLFEAT_DEBUG") == "1":
        raise  # noqa: PLE0704 - called in an except clause
    print(f"mlfeat: error: {one_line(message)}", file=sys.stderr)
    return code


def _parser():
    parser = _Parser(
        prog="mlfeat",
        description=DESCRIPTION,
        formatter_class=HelpFormatter,
        epilog="mlfeat COMMAND --help tells more about each command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mlfeat {mlfeat.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (_compare, _fit, _evaluate, _convert, _benchmark):
        command.add_parser(subparsers)
    return parser
