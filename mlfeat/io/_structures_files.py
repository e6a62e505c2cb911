"""Which files a path stands for, and the structures in each."""

import glob
from itertools import islice
from pathlib import Path

from mlfeat.io._structures_formats import guess_format, read_format


def find_files(path, format=None):
    """Files that a path stands for.

    Parameters
    ----------
    path : str, path-like, or list of them
        Files, folders, patterns.
    format : str, default=None
        That of all files; None: as each begins.

    Returns
    -------
    list of (pathlib.Path, str or None, str or None)
        Files, their formats (None: unknown), and the name right in a folder by which each was found.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(path, list | tuple):
        return [found for single in path for found in find_files(single, format)]
    path = Path(path)
    if path.is_dir():
        return _in_folder(path, format)
    names = [path] if path.exists() else sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    files = [name for name in names if name.is_file()]
    if not files:
        raise FileNotFoundError(f"{path}: no such file")
    empty = [str(file) for file in files if file.stat().st_size == 0]
    if empty:
        raise ValueError(f"{', '.join(empty)}: the file is empty")
    return [(file, format or guess_format(file), None) for file in files]


def _in_folder(folder, format):
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.stat().st_size and (name := guess_format(file)) and format in (None, name):
            own = file.relative_to(folder).parts[0]
            found.append((file, name, own.partition(".")[0] if file.parent == folder else own))
    with_xml = {file.parent for file, name, _ in found if name == "vasp-xml"}
    found = [item for item in found if not (item[1] == "vasp-out" and item[0].parent in with_xml)]
    if not found:
        raise FileNotFoundError(f"{folder}: the folder has no file of structures in a format that is known")
    return found


def read_file(path, name, index, options):
    """Yield some structures of a file, each after its number in the file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    name : str or None
        Its format.
    index : int or slice
        Which of them. With a slice that has no negative numbers, nothing behind its end is read.
    options : Options
        For the reader.

    Yields
    ------
    number : int
        From zero.
    atoms : ase.Atoms
        As the reader made it.

    Raises
    ------
    ValueError
        If the file is damaged, or has no such structure.
    """
    chosen = index if isinstance(index, slice) else slice(index, index + 1 or None)
    numbered = _numbered(path, name, options)
    if all(k is None or k >= 0 for k in (chosen.start, chosen.stop, chosen.step)):
        numbered = islice(numbered, chosen.start, chosen.stop, chosen.step)
    else:
        numbered = list(numbered)[chosen]
    none = True
    for item in numbered:
        none = False
        yield item
    if none:
        raise ValueError(f"{path}: there is no structure {_text(index)}")


def _text(index):
    if not isinstance(index, slice):
        return str(index)
    bounds = [index.start, index.stop] if index.step is None else [index.start, index.stop, index.step]
    return ":".join("" if k is None else str(k) for k in bounds)


def _numbered(path, name, options):
    """Number and structure; an error names the first one that cannot be read."""
    structures, number = read_format(path, name, options), 0
    while True:
        try:
            atoms = next(structures)
        except StopIteration:
            return
        except ImportError:
            raise
        except Exception as error:  # ASE's readers raise anything on a damaged file
            raise ValueError(_message(path, name, number, error)) from error
        yield number, atoms
        number += 1


def _message(path, name, number, error):
    text = " ".join(str(error).split())
    if not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    if not text.startswith("structure "):
        text = f"structure {number} of {path}: {text.removeprefix(f'{path}: ')}"
    if name is None:
        text += "; the format is none that is known by how the file begins, pass format"
    return text + (f"; the {number} before it can be read with index=':{number}'" if number else "")
