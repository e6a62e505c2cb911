"""One piece of work in a process of its own, so that its memory is its own and its crash too.

The parent writes a pickled job to a file and the process a pickled result to another, both in a private temporary
folder. A process whose parent is gone ends itself.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import mlfeat
from mlfeat.cli._errors import one_line, show_warning

# Ctrl-C is for the parent, which ends this process; it must not end in a traceback here.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from mlfeat.cli._worker import main
main(*sys.argv[1:])
"""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # where the user has not set them


class Child:
    """A function of an importable module, called in a fresh process that has some threads for linear algebra."""

    def __init__(self, function, args, threads=1):
        self._folder = tempfile.TemporaryDirectory(prefix="mlfeat-")
        job, self._answer = Path(self._folder.name) / "job", Path(self._folder.name) / "result"
        job.write_bytes(pickle.dumps((function, args)))
        # -P and PYTHONPATH: the same mlfeat as here, whatever lies in the working directory.
        paths = [str(Path(mlfeat.__file__).parents[1]), os.environ.get("PYTHONPATH")]
        environment = dict.fromkeys(_THREADS, str(threads)) | os.environ
        # The process inherits that Ctrl-C waits, until it ignores it; here it comes right after.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(job), str(self._answer)],
                env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                stdin=subprocess.PIPE,  # ends when this process does
                stdout=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def is_running(self):
        """Whether there is no result yet."""
        return self._process.poll() is None

    def result(self):
        """What the function returned; a dictionary with status "failed" and an error if it did not return."""
        code = self._process.wait()
        answer = pickle.loads(self._answer.read_bytes()) if self._answer.exists() else None
        self._clean()
        return {"status": "failed", "error": _how_it_ended(code)} if answer is None else answer

    def kill(self):
        """End it without a result."""
        self._process.kill()
        self._process.wait()
        self._clean()

    def _clean(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._folder.cleanup()


def _how_it_ended(code):
    if code == -signal.SIGKILL:
        return "the process was killed, perhaps because memory ran out"
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"the process ended with {how}"


def main(job, answer):
    """Do a job and leave its result."""
    warnings.showwarning = show_warning
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function, args = pickle.loads(Path(job).read_bytes())
        result = function(*args)
    except Exception as error:
        if os.environ.get("MLFEAT_DEBUG") == "1":
            raise
        result = {"status": "failed", "error": f"{type(error).__name__}: {one_line(error)}"}
    whole = Path(f"{answer}.part")
    with contextlib.suppress(FileNotFoundError):  # the parent is gone, and with it the folder
        whole.write_bytes(pickle.dumps(result))
        whole.rename(answer)


def _end_with_parent():
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: it returns when the pipe breaks
    os._exit(1)
