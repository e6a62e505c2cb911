"""One file of named arrays and a JSON document, with a hash of its content.

The file is an uncompressed zip archive: ``model.json`` beside one ``.npy`` member an array. Reading
allocates no more than the file's own size and executes nothing. The hash finds damage; it does not
say who wrote the file.
"""

import errno
import hashlib
import io
import json
import math
import os
import struct
import uuid
import zipfile

import numpy as np

DOCUMENT = "model.json"
ARRAY_KINDS = "biufU"

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)
_HEADER_ERRORS = (
    KeyError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


class BadFile(Exception):
    """What is wrong with a file, in words."""


def expect(condition, message):
    """Raise :class:`BadFile` unless the condition holds."""
    if not condition:
        raise BadFile(message)


def check_array(name, array, shape):
    """Raise ValueError unless this is an array of finite numbers of that shape; a None in it stands for any length."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is no array of numbers")
    if len(array.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} has the shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has numbers that are not finite")


def pack(document, arrays):
    """Bytes of a file that holds the document and the arrays; equal content gives equal bytes."""
    document = {**document, "sha256": content_hash(document, arrays)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        # A ZipInfo made from the name alone has a fixed date.
        archive.writestr(zipfile.ZipInfo(DOCUMENT), json.dumps(document, indent=1, allow_nan=False))
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name), member.getvalue())
    return stream.getvalue()


def unpack(blob, check_document):
    """Document and arrays of a file's bytes.

    ``check_document(document)`` is called before the hash is compared, so that a file of another
    version is called that and not a damaged one.
    """
    members = _read_members(blob)
    expect(DOCUMENT in members, f"no mlfeat model: there is no {DOCUMENT} in it")
    document = _parse_document(members.pop(DOCUMENT))
    check_document(document)
    arrays = {name: _parse_array(name, content) for name, content in members.items()}
    expect(
        content_hash(document, arrays) == document.pop("sha256", None),
        "the content does not match its hash: the file is damaged or was edited",
    )
    return document, arrays


def content_hash(document, arrays):
    """SHA-256 over the document (less its hash) and each array's name, type, shape and bytes."""
    document = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = little_endian(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def little_endian(array):
    """The array in C order and little-endian numbers, copied only if it is not yet so."""
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def write_atomically(path, blob):
    """Write a file whole or not at all: an older one stays until the new one is on the disk."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}; create it first", str(path))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(blob)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _read_members(blob):
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            infos = archive.infolist()
            expect(len({i.filename for i in infos}) == len(infos), "two members have the same name")
            # Stored, not compressed: no member can unfold to more than the file's own size.
            stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
            expect(stored, "no mlfeat model: its members are compressed")
            fits = sum(info.file_size for info in infos) <= len(blob)
            expect(fits, "its members claim to be larger than the file")
            return {info.filename: archive.read(info) for info in infos}
    except _ZIP_ERRORS as error:
        raise BadFile(f"no mlfeat model, or a truncated one ({error})") from error


def _parse_document(text):
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{DOCUMENT} cannot be read ({error})") from error
    expect(isinstance(document, dict), f"{DOCUMENT} holds no table")
    return document


def _without_duplicates(pairs):
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


def _parse_array(name, content):
    """Array of a ``.npy`` member; its header is checked against the size before any allocation."""
    stream = io.BytesIO(content)
    try:
        read_header = _HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, fortran_order, dtype = read_header(stream)
    except _HEADER_ERRORS as error:
        raise BadFile(f"{name} is not an array ({error})") from error
    plain = dtype.kind in ARRAY_KINDS and not fortran_order
    expect(plain, f"{name} is an array of {dtype}, which mlfeat does not write")
    size = math.prod(shape) * dtype.itemsize
    fits = all(n >= 0 for n in shape) and size == len(content) - stream.tell()
    expect(fits, f"{name} should hold {shape} numbers of {dtype}, but has another length")
    try:
        flat = np.frombuffer(content, dtype, offset=stream.tell()) if size else np.empty(0, dtype)
        return flat.reshape(shape).astype(dtype.newbyteorder("="))
    except (ValueError, OverflowError) as error:
        raise BadFile(f"{name} has no such shape: {shape}") from error
