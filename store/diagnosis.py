"""Finds out why a server could not be connected to, without reading libpq's message.

For a refused connection libpq gives no SQLSTATE, only text, which may be in the server's language. So the server is asked
again, by means that answer in codes: the operating system (is anything there?), one packet of Postgres' protocol (is it
Postgres, does it offer TLS?), libpq's trace (the SQLSTATE), and a TLS handshake (what is wrong with the certificate?).
Each takes a few seconds at most. ``causes`` explains these codes, and what to do.
"""

import os
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_STEP_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 5.0
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_SSL_REQUEST_ANSWERS: Final = {b"S", b"N"}

# "ErrorResponse	 S "FATAL" V "FATAL" C "28P01" M "…" F "auth.c" L "334" R "auth_failed"": the fields have no escapes, but the
# code comes before the message, and the routine at the end.
_ERROR_RESPONSE: Final = re.compile(
    r"ErrorResponse\t.*? C \"([0-9A-Z]{5})\"(.*?)(?=\nB\t|\nF\t|\Z)", re.DOTALL | re.ASCII
)
_ROUTINE: Final = re.compile(r" R \"(\w+)\"[^\"]*\Z", re.ASCII)


class Address(NamedTuple):
    """The address of one server, with the database and the role."""

    host: str
    """A name or an address; the folder of a Unix socket begins with / or @."""
    port: int
    database: str
    role: str
    hostaddr: str = ""

    @property
    def socket_path(self) -> str | None:
        """The Unix socket, if it is one."""
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host[:1] in ("/", "@") else None

    def __str__(self) -> str:
        where = f"the socket {self.socket_path}" if self.socket_path else f"{self.host}:{self.port}"
        return f"{self.database} at {where}"


class Seen(Enum):
    """What answers at an address."""

    NO_SUCH_HOST = auto()
    UNREACHABLE = auto()
    REFUSED = auto()
    NO_SOCKET = auto()
    FORBIDDEN = auto()
    SILENT = auto()
    CLOSED = auto()
    NOT_POSTGRES = auto()
    POSTGRES = auto()
    POSTGRES_WITH_TLS = auto()


class Answer(NamedTuple):
    """The server's answer to an attempt to start a session."""

    sqlstate: str = ""
    """'' when it sent no error: libpq ended the attempt, or it succeeded."""
    routine: str = ""
    """The server's function that refused. Unlike the message, it is never translated."""
    connected: bool = False
    by_tls: bool = False
    password_missing: bool = False


def options_of(conninfo: str) -> dict[str, str]:
    """Return the options that libpq would use: from the URL, else from its variables (PGHOST, …), else its defaults.

    Raises psycopg.ProgrammingError for an invalid conninfo; its message may contain the password.
    """
    defaults = {
        option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val
    }
    given = {
        name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value not in (None, "")
    }
    return defaults | given


def addresses(options: Mapping[str, str], socket_folder: str = "") -> list[Address]:
    """Return the servers that the options name; without a host, the one at the socket."""
    role = options.get("user", "")
    database = options.get("dbname") or role
    hosts = options.get("host", "").split(",")
    hostaddrs = options.get("hostaddr", "").split(",")
    ports = options.get("port", "").split(",")
    count = max(len(hosts), len(hostaddrs))
    return [
        Address(
            _at(hosts, number) or _at(hostaddrs, number) or socket_folder,
            int(_at(ports, number) or "5432"),
            database,
            role,
            _at(hostaddrs, number),
        )
        for number in range(count)
    ]


def look(address: Address) -> tuple[Seen, str]:
    """Return what answers at an address, and the operating system's message, if any."""
    try:
        connection = _open(address)
    except socket.gaierror as error:
        return Seen.NO_SUCH_HOST, error.strerror or ""
    except UnicodeError:  # a name that cannot exist
        return Seen.NO_SUCH_HOST, ""
    except (FileNotFoundError, NotADirectoryError) as error:
        return Seen.NO_SOCKET, error.strerror or ""
    except PermissionError as error:
        return Seen.FORBIDDEN, error.strerror or ""
    except ConnectionRefusedError as error:
        return Seen.REFUSED, error.strerror or ""
    except OSError as error:  # no route, or no answer in time
        return Seen.UNREACHABLE, error.strerror or f"no answer within {_STEP_SECONDS:g} s"
    with connection:
        try:
            connection.sendall(_SSL_REQUEST)
            answer = connection.recv(16)
        except TimeoutError:
            return Seen.SILENT, ""
        except OSError as error:
            return Seen.CLOSED, error.strerror or ""
    if not answer:
        return Seen.CLOSED, ""
    if answer not in _SSL_REQUEST_ANSWERS:
        return Seen.NOT_POSTGRES, ""
    return (Seen.POSTGRES_WITH_TLS if answer == b"S" else Seen.POSTGRES), ""


def own_address(address: Address) -> str:
    """Return this host's address on the route to the server; '' if there is none."""
    try:
        with _open(address) as connection:
            name = connection.getsockname()
    except (OSError, UnicodeError):
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def ask(conninfo: str, address: Address) -> Answer:
    """Try to start a session at one address, and return the code with which the server refused."""
    if not hasattr(os, "memfd_create"):  # without it, libpq cannot trace into memory
        return Answer()
    one = make_conninfo(conninfo, host=address.host, port=address.port, hostaddr=address.hostaddr or None)
    attempt = pq.PGconn.connect_start(one.encode())
    try:
        # In memory, because the trace contains the password.
        trace = os.memfd_create("libpq-trace")
        try:
            if attempt.status == pq.ConnStatus.BAD:
                return Answer()
            attempt.trace(trace)
            attempt.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            connected = _finish(attempt)
            attempt.untrace()
            size = os.lseek(trace, 0, os.SEEK_END)
            text = os.pread(trace, size, 0).decode(errors="replace")
        finally:
            os.close(trace)
        sqlstate, routine = ("", "") if connected else error_in(text)
        return Answer(
            sqlstate=sqlstate,
            routine=routine,
            connected=connected,
            by_tls=attempt.ssl_in_use,
            password_missing=attempt.needs_password,
        )
    except psycopg.Error:
        return Answer()
    finally:
        attempt.finish()


def error_in(trace: str) -> tuple[str, str]:
    """Return SQLSTATE and routine of the first error in a libpq trace; '' for each one missing."""
    error = _ERROR_RESPONSE.search(trace)
    routine = _ROUTINE.search(error[2].rstrip("\n")) if error else None
    return error[1] if error else "", routine[1] if routine else ""


def certificate_problem(
    address: Address, options: Mapping[str, str]
) -> ssl.SSLError | FileNotFoundError | None:
    """Check the server's certificate as the options demand, and return what is wrong with it; None if nothing is.

    Returns FileNotFoundError if the options demand a check, but the file of trusted authorities is missing.
    """
    mode = options.get("sslmode", "")
    root = options.get("sslrootcert", "")
    path = Path(root) if root else Path("~/.postgresql/root.crt").expanduser()
    if root != "system" and not path.exists():
        verifies = mode in ("verify-ca", "verify-full")
        return FileNotFoundError(str(path)) if verifies else None
    try:
        context = ssl.create_default_context(cafile=None if root == "system" else str(path))
        context.check_hostname = mode == "verify-full" or root == "system"
        with _open(address) as connection:
            connection.sendall(_SSL_REQUEST)
            if connection.recv(1) == b"S":
                context.wrap_socket(connection, server_hostname=address.host).close()
    except ssl.SSLError as error:
        return error
    except (OSError, ValueError):
        return None
    return None


def _open(address: Address) -> socket.socket:
    if address.socket_path is None:
        return socket.create_connection(
            (address.hostaddr or address.host, address.port), timeout=_STEP_SECONDS
        )
    path = f"\0{address.socket_path[1:]}" if address.host[:1] == "@" else address.socket_path
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_STEP_SECONDS)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _finish(attempt: pq.abc.PGconn) -> bool:
    """Continue an attempt until it finishes or the time is up. Return whether it connected."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    status: int = pq.PollingStatus.WRITING
    while status not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        waits = select.poll()
        waits.register(
            attempt.socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT
        )
        if not waits.poll(left * 1000):
            return False
        status = attempt.connect_poll()
    return status == pq.PollingStatus.OK


def _at(values: list[str], number: int) -> str:
    """Return one of several values, by its number; a single value is the same for all numbers."""
    return values[number] if len(values) > 1 and number < len(values) else values[0]
