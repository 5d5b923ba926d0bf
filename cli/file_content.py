"""Reads the content of a file with events: its bytes, unpacked if they are compressed, decoded if they are text.

The kind of a file is determined by its first bytes, never by its name.
"""

import bz2
import codecs
import gzip
import io
import lzma
import sys
import zlib
from pathlib import Path
from typing import Final

from schemas.errors import InputError

STDIN: Final = "-"
_MOST_UNPACKED_BYTES: Final = 1024**3

_UNPACKED: Final = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"BZh", "bzip2", bz2.open),
    (b"\xfd7zXZ\0", "xz", lzma.open),
)
"""First bytes, name and reader of the compressions in Python's standard library."""

_NOT_UNPACKED: Final = (
    (b"\x28\xb5\x2f\xfd", "zstandard", "zstd -dc"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    (b"\xff\x06\0\0sNaPpY", "snappy", "snzip -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
)
"""First bytes and name of other compressions, and the command that unpacks each."""

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
"""Longer marks first: the mark of UTF-32 begins with that of UTF-16."""

_BY_NULS: Final[dict[tuple[bool, ...], str]] = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}
"""Which of the first four bytes are 0, and the encoding that this pattern implies."""

BLANKS: Final = " \t\r\n\x1e\ufeff"
"""Characters allowed between JSON texts; also the mark of RFC 7464, and byte order marks of concatenated files."""


def read_content(name: str) -> bytes:
    """Return the bytes of a file, or of standard input for ``-``. Raises InputError when it cannot be read."""
    try:
        return sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except IsADirectoryError as error:
        raise InputError(f"{name!r} is a directory: give the files in it.") from error
    except OSError as error:
        raise InputError(f"cannot read {name!r}: {error.strerror}.") from error


def unpacked(name: str, content: bytes) -> bytes:
    """Return the content, unpacked even if it was compressed twice. Raises InputError when it cannot be unpacked."""
    while (inner := _unpacked_once(name, content)) is not None:
        content = inner
    return content


def shown_name(name: str) -> str:
    """Return the name of a file for messages."""
    return "standard input" if name == STDIN else name


def json_text(name: str, content: bytes) -> str | None:
    """Return the text if it begins like JSON, in any Unicode encoding; else None.

    Raises InputError when it begins like JSON but is not valid in the encoding it begins with.
    """
    encoding = _encoding(content)
    if encoding is None:
        return None
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{shown_name(name)} begins as JSON in {encoding.upper().removesuffix('-SIG')}, but line {line} is not: "
            f"{error.reason} at byte {error.start}. Write it in UTF-8."
        ) from error


def _unpacked_once(name: str, content: bytes) -> bytes | None:
    for magic, kind, program in _NOT_UNPACKED:
        if content.startswith(magic):
            raise InputError(
                f"{shown_name(name)} is compressed by {kind}, which is not read here: unpack it first, "
                f"`{program} FILE | jobtrail events validate -`."
            )
    for magic, kind, opened in _UNPACKED:
        if content.startswith(magic):
            try:
                with opened(io.BytesIO(content), "rb") as stream:
                    inner: bytes = stream.read(_MOST_UNPACKED_BYTES + 1)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise InputError(
                    f"{shown_name(name)} is compressed by {kind}, and cut or damaged: {error}."
                ) from error
            if len(inner) > _MOST_UNPACKED_BYTES:
                raise InputError(f"{shown_name(name)} unpacks to more than 1 GiB: split it.")
            return inner
    return None


def _encoding(content: bytes) -> str | None:
    """Return the encoding of a text that begins with a byte order mark or a bracket of JSON; None for anything else."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    # Without a mark: JSON begins with two characters of ASCII, so its 0 bytes determine the encoding.
    encoding = _BY_NULS.get(tuple(byte == 0 for byte in content[:4]), "utf-8")
    beginning = content[:4096].decode(encoding, "ignore").lstrip(BLANKS)
    return encoding if beginning[:1] in ("{", "[") else None
