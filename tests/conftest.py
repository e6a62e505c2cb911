import os
from pathlib import Path

import pytest

# Before NumPy is imported: threads of BLAS wait for each other longer than matrices this small take.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared():
    """Folder of reference data beside the repository; tests that need it skip where it is missing."""
    path = Path(os.environ.get("MLFEAT_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path} (set MLFEAT_SHARED)")
    return path


@pytest.fixture(autouse=True)
def _empty_cache():
    """Every test starts with nothing cached."""
    from mlfeat._cache import clear_cache

    clear_cache()
