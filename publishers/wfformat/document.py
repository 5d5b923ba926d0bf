"""Read a file as a JSON object: gzip, UTF-8 and JSON, with errors that say where the file is broken.

``versions`` and ``read`` interpret the object.
"""

import codecs
import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from schemas.errors import InputError

MOST_BYTES = 512 * 1024 * 1024
"""The largest unpacked file that is read. The whole file is in memory while it is read."""

_GZIP_MAGIC = b"\x1f\x8b"


class Document(NamedTuple):
    """A parsed object, and the SHA-256 of the unpacked bytes that it was parsed from."""

    content: dict[str, Any]
    sha256: str


def load(path: Path) -> Document:
    """Read a ``.json`` or ``.json.gz`` file. Raises InputError with the place where the file is broken."""
    raw = _unpacked(path)
    try:
        content = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected UTF-8, got byte 0x{raw[error.start]:02x} at byte {error.start}: save the file as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        byte = len(error.doc[: error.pos].encode()) + (
            len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
        )
        raise InputError(
            f"{path}: not JSON from line {error.lineno}, column {error.colno} (byte {byte} of {len(raw)}): {error.msg}. "
            "The file is damaged or cut short: get it again."
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: JSON nested too deeply for a WfFormat file.") from error
    except ValueError as error:  # NaN and Infinity, or a number of thousands of digits
        raise InputError(f"{path}: not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object in WfFormat, got {type(content).__name__}.")
    return Document(content, hashlib.sha256(raw).hexdigest())


def _unpacked(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    if not path.is_file():
        raise InputError(f"{path}: expected a regular file (.json or .json.gz), because it is read twice.")
    try:
        with path.open("rb") as opened:
            packed = opened.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        if path.suffix == ".gz" and not packed:
            raise InputError(f"{path}: the name ends with .gz, but the content is not gzip: rename the file.")
        with gzip.open(path) if packed else path.open("rb") as source:
            raw: bytes = source.read(MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip data is damaged or cut short ({error}): get the file again."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(raw) > MOST_BYTES:
        raise InputError(
            f"{path}: expected at most {MOST_BYTES // 1024**2} MiB unpacked, got more. "
            "The whole file has to fit in memory."
        )
    return raw


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
