"""One potential in a process of its own, so that its memory is its own and its crash too.

The parent writes a pickled job to a file and this process a pickled result to another, both in a
private temporary folder.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import mlfeat
from mlfeat.cli._errors import one_line, show_warning
from mlfeat.cli._train import train_model

# Ctrl-C is for the parent, which ends this process; it must not end in a traceback here.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from mlfeat.cli._worker import main
main(*sys.argv[1:])
"""


def train_in_child(*args, **kwargs):
    """`train_model` in a fresh process; a failure there is a result with status "failed"."""
    with tempfile.TemporaryDirectory(prefix="mlfeat-") as folder:
        job, answer = Path(folder) / "job", Path(folder) / "result"
        job.write_bytes(pickle.dumps((args, kwargs)))
        # -P and PYTHONPATH: the same mlfeat as here, whatever lies in the working directory.
        paths = [str(Path(mlfeat.__file__).parents[1]), os.environ.get("PYTHONPATH")]
        child = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, str(job), str(answer)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if answer.exists():
            return pickle.loads(answer.read_bytes())
    return {"status": "failed", "error": _how_it_ended(child.returncode)}


def _how_it_ended(code):
    if code == -signal.SIGKILL:
        return "the process was killed, perhaps because memory ran out"
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"the process ended with {how}"


def main(job, answer):
    """Do a job and leave its result."""
    warnings.showwarning = show_warning
    args, kwargs = pickle.loads(Path(job).read_bytes())
    try:
        result = train_model(*args, **kwargs)
    except Exception as error:
        if os.environ.get("MLFEAT_DEBUG") == "1":
            raise
        result = {"status": "failed", "error": f"{type(error).__name__}: {one_line(error)}"}
    whole = Path(f"{answer}.part")
    whole.write_bytes(pickle.dumps(result))
    whole.rename(answer)
