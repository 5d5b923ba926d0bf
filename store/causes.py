"""Explains why the database cannot be used, by cause, with the commands that cure it.

Causes are distinguished by SQLSTATE and by what ``diagnosis`` finds, never by the text of a message. The commands can be
copied into psql as they are.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from schemas.errors import DatabaseAwayError, StoreError
from settings.database import DatabaseSettings
from store.diagnosis import (
    Address,
    Answer,
    Seen,
    addresses,
    ask,
    certificate_problem,
    look,
    options_of,
    own_address,
)
from store.queries import queries

_QUERIES = queries("access")
URL_VARIABLE: Final = "JOBTRAIL_DATABASE_URL"
_SCHEMAS: Final = ("jobtrail", "jobtrail_control", "jobtrail_triage")

# OpenSSL's codes of what is wrong with a certificate.
_EXPIRED: Final = {9, 10}
_UNKNOWN_AUTHORITY: Final = {18, 19, 20, 21}
_OTHER_HOST: Final = {62, 64}


class Cause(NamedTuple):
    """What is wrong, and what to do about it; both without their last full stop."""

    why: str
    cure: str
    passes: bool = False
    """Whether it passes by itself: Postgres is not running yet, or is starting."""


def _sentence(cure: str) -> str:
    """End a cure with a full stop. A command at its end keeps only its semicolon, because people copy it."""
    return cure if cure.endswith(";") else f"{cure}."


class Access(Enum):
    """What a session is for; it decides which privileges cure a refusal."""

    READ = auto()
    """Questions: SELECT on the tables."""
    CHANGE = auto()
    """Changes to rows and tables, which belong to the role that migrated."""


def connection_error(conninfo: str, error: psycopg.Error) -> StoreError:
    """Return why a connection could not be made, and what to do; as DatabaseAwayError if that passes by itself.

    Asks the server again, for some seconds. The text does not contain the password.
    """
    options = options_of(conninfo)
    folder = error.pgconn.host.decode() if error.pgconn is not None else ""
    found = [
        (address, _cause(conninfo, options, address, str(error))) for address in addresses(options, folder)
    ]
    address, cause = next((one for one in found if not one[1].passes), found[0])
    kind = DatabaseAwayError if cause.passes else StoreError
    return kind(f"cannot connect to the database {address}: {cause.why}. {_sentence(cause.cure)}")


@contextmanager
def store_errors(what: str, settings: DatabaseSettings, access: Access) -> Iterator[None]:
    """Turn psycopg's errors within the block into StoreError: what was tried, why it failed, and the cure."""
    try:
        yield
    except psycopg.Error as error:
        raise statement_error(what, error, settings, access) from error


def statement_error(
    what: str, error: psycopg.Error, settings: DatabaseSettings, access: Access
) -> StoreError:
    """Return why a statement failed, and what to do; as DatabaseAwayError if that passes by itself."""
    cause = _statement_cause(error, settings, access)
    kind = DatabaseAwayError if cause.passes else StoreError
    return kind(f"the database could not {what}: {cause.why}. {_sentence(cause.cure)}")


def role_of(settings: DatabaseSettings) -> str:
    """Return the role of our sessions."""
    return options_of(settings.database_url.get_secret_value()).get("user", "")


def _statement_cause(error: psycopg.Error, settings: DatabaseSettings, access: Access) -> Cause:
    said = " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
    code = error.sqlstate or ""
    match code:
        case "42501":
            return Cause(f"{said} (42501)", _grants(settings, access))
        case "42P01" | "3F000" | "42703" | "42883" | "42P10" | "42704":
            return Cause(
                f"its tables are not those of this release: {said} ({code})",
                "Run `jobtrail migrate` with this release",
            )
        case "25006":
            return Cause(
                f"it is read-only now: {said} (25006)",
                f"It is a standby, or default_transaction_read_only is on. Name the primary in {URL_VARIABLE}; of several "
                "hosts ?target_session_attrs=read-write finds it",
            )
        case "57014":
            return Cause(
                "a statement was cancelled (57014)",
                "It took longer than its limit, JOBTRAIL_ANSWERS_STATEMENT_TIMEOUT_SECONDS for answers, or an administrator "
                "cancelled it: ask for less, or raise the limit",
            )
        case "55P03":
            return Cause(
                "another session kept a table locked for longer than JOBTRAIL_DATABASE_LOCK_TIMEOUT_SECONDS (55P03)",
                "Run it again. Who waits for whom: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE "
                "cardinality(pg_blocking_pids(pid)) > 0;",
            )
        case "53100":
            return Cause(f"its disk is full: {said} (53100)", "Make room there; nothing of this was kept")
        case "53200" | "53400" | "54000":
            return Cause(f"it is at a limit of its own: {said} ({code})", "Raise that limit, or ask for less")
        case "40001" | "40P01":
            return Cause(
                f"it collided with another session: {said} ({code})", "Run it again; nothing of this was kept"
            )
        case "25P03" | "25P04":
            return Cause(
                f"this process held a transaction open for too long: {said} ({code})",
                "Run it again; nothing of the transaction was kept",
            )
        case "XX001" | "XX002" | "58030":
            return Cause(
                f"its files are damaged: {said} ({code})",
                "Check the disk, and restore, or rebuild into a new database",
            )
    if code[:2] in ("08", "57") or (
        not code and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    ):
        return Cause(
            f"the connection was lost: {said}" + (f" ({code})" if code else ""),
            "Run it again when Postgres is back; what was not committed is gone",
            passes=True,
        )
    return Cause(said + (f" ({code})" if code else ""), "See the log of Postgres for more")


def _cause(conninfo: str, options: Mapping[str, str], address: Address, said: str) -> Cause:
    seen, word = look(address)
    if seen in (Seen.POSTGRES, Seen.POSTGRES_WITH_TLS):
        return _refusal(conninfo, options, address, seen, " ".join(said.split()))
    word = f" ({word.lower()})" if word else ""
    correct = f"or correct host and port in {URL_VARIABLE}"
    match seen:
        case Seen.NO_SUCH_HOST:
            return Cause(
                f"no host has the name {address.host!r}{word}", f"Correct it in {URL_VARIABLE}", passes=True
            )
        case Seen.REFUSED | Seen.NO_SOCKET:
            return Cause(f"nothing listens there{word}", f"Start Postgres, {correct}", passes=True)
        case Seen.FORBIDDEN:
            return Cause(f"this user may not use that socket{word}", "Allow it, or connect to a host by TCP")
        case Seen.NOT_POSTGRES:
            return Cause(
                "what listens there does not speak Postgres' protocol",
                f"Correct host and port in {URL_VARIABLE}; Postgres listens on 5432 by default",
            )
        case Seen.CLOSED:
            return Cause(
                f"the connection is closed at once{word}",
                f"A proxy is in front of a Postgres that does not run: start it. Or it is not Postgres: {correct[3:]}",
                passes=True,
            )
        case Seen.SILENT:
            return Cause(
                "the connection is accepted, but nothing answers",
                f"Postgres is frozen or overloaded, or it is something else: look there, {correct}",
                passes=True,
            )
    return Cause(f"the host cannot be reached{word}", f"Check network and firewalls, {correct}", passes=True)


def _refusal(conninfo: str, options: Mapping[str, str], address: Address, seen: Seen, said: str) -> Cause:
    """Return why a running Postgres refused the session."""
    answer = _ask(conninfo, address, said)
    if answer.sqlstate:
        return _refusal_by_code(options, address, seen, answer, said)
    if answer.password_missing:
        return Cause(
            f"the server asks for the password of the role {_quoted(address.role)}, and none was given",
            f"Give it by PGPASSWORD, ~/.pgpass (which only its owner may be able to read), or {URL_VARIABLE}",
        )
    if answer.connected:
        return Cause(f"it failed once, and worked a moment later: {said}", "Run it again", passes=True)
    return _refusal_of_tls(options, address, seen) or Cause(said.rstrip("."), f"Check {URL_VARIABLE}")


def _refusal_by_code(
    options: Mapping[str, str], address: Address, seen: Seen, answer: Answer, said: str
) -> Cause:
    role, database, code = _quoted(address.role), _quoted(address.database), answer.sqlstate
    create_role = f"CREATE ROLE {role} LOGIN PASSWORD '…';"
    match code, answer.routine:
        case "28P01", _:
            return Cause(
                f"the server refused the password of the role {role} ({code})",
                f"Correct it in {_password_place(options)}. There may be no such role at all, which the server does not say: as "
                f"an administrator, ALTER ROLE {role} PASSWORD '…'; or {create_role}",
            )
        case "28000", "InitializeSessionUserId" | "InitializeSessionUserIdStandalone":
            return Cause(
                f"there is no role {role}, or it may not log in ({code})",
                f"As an administrator: {create_role} or, where it is there, ALTER ROLE {role} LOGIN;",
            )
        case "28000", "ClientAuthentication":
            tls = "with TLS" if answer.by_tls else "without TLS"
            offered = seen is Seen.POSTGRES_WITH_TLS and not answer.by_tls
            return Cause(
                f"the server's pg_hba.conf does not let the role {role} into the database {database} from this host {tls} ({code}): {said}",
                f"Put `{_hba_line(address)}` above its other lines, and SELECT pg_reload_conf();"
                + (
                    f" or encrypt, by ?sslmode=require in {URL_VARIABLE}: the server offers it"
                    if offered
                    else ""
                ),
            )
        case "28000", _:
            return Cause(
                f"the server could not verify that this client is the role {role} ({code}): {said}",
                "Its pg_hba.conf asks the system or a certificate who this is (peer, ident, cert). Run as that user, give that "
                "certificate, or have it ask for a password",
            )
        case "3D000", _:
            return Cause(
                f"there is no database {database} ({code})",
                f"As an administrator: CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0;",
            )
        case "42501", _:
            return Cause(
                f"the role {role} may not connect to the database {database} ({code})",
                f"As its owner: GRANT CONNECT ON DATABASE {database} TO {role};",
            )
        case "57P01" | "57P02" | "57P03", _:
            return Cause(
                f"Postgres is starting or stopping ({code})",
                "That passes by itself; if it does not, the log of Postgres says why",
                passes=True,
            )
        case "53300", _:
            return Cause(
                f"no more sessions are allowed for the role {role} ({code}): {said}",
                "End some (SELECT pid, usename, application_name FROM pg_stat_activity;), or raise max_connections there, or the "
                "CONNECTION LIMIT of role or database",
            )
        case "42704" | "22023", _:
            return Cause(
                f"the server does not know the settings of a session ({code}): {said}",
                "Expected Postgres 15 or later",
            )
        case "08P01" | "0A000", _:
            return Cause(
                f"the server refuses the options of a session ({code}): {said}",
                f"Name Postgres itself in {URL_VARIABLE}, and not a pooler such as PgBouncer: sessions here set options of their own",
            )
    return Cause(said.rstrip("."), "See the log of Postgres for more")


def _refusal_of_tls(options: Mapping[str, str], address: Address, seen: Seen) -> Cause | None:
    """Return how TLS prevents a session; None if it does not."""
    mode = options.get("sslmode", "prefer")
    if mode in ("require", "verify-ca", "verify-full") and seen is not Seen.POSTGRES_WITH_TLS:
        return Cause(
            f"sslmode={mode} demands TLS, and the server offers none",
            f"Switch it on there (ssl, ssl_cert_file, ssl_key_file), or leave sslmode out of {URL_VARIABLE} where nobody else "
            "is on the network",
        )
    problem = certificate_problem(address, options) if seen is Seen.POSTGRES_WITH_TLS else None
    name_authority = (
        f"Name the file of its authority in {URL_VARIABLE}: ?sslmode={mode}&sslrootcert=/path/ca.pem"
    )
    if isinstance(problem, FileNotFoundError):
        return Cause(
            f"sslmode={mode} checks the server's certificate, and there is no file of authorities to trust: {problem}",
            name_authority,
        )
    if isinstance(problem, ssl.SSLCertVerificationError):
        if problem.verify_code in _OTHER_HOST:
            return Cause(
                f"the server's certificate is not for the host {address.host!r} ({problem.verify_message})",
                f"Name the host in {URL_VARIABLE} as the certificate does, or give the server one for this name",
            )
        if problem.verify_code in _EXPIRED:
            return Cause(
                f"the server's certificate is not valid now ({problem.verify_message})",
                "Renew it; or set the clock of this host, if that is what is wrong",
            )
        authority = problem.verify_code in _UNKNOWN_AUTHORITY
        return Cause(
            f"the server's certificate is not trusted ({problem.verify_message})",
            name_authority if authority else "Give the server another certificate",
        )
    return None


@lru_cache(maxsize=16)
def _ask(conninfo: str, address: Address, _said: str) -> Answer:
    """Ask once for each refusal: a service that retries for hours gets the same one, and a trace costs some memory."""
    return ask(conninfo, address)


def _grants(settings: DatabaseSettings, access: Access) -> str:
    role = _quoted(role_of(settings))
    schemas = ", ".join(_SCHEMAS)
    if access is Access.READ:
        return (
            f"As the owner of the tables: GRANT USAGE ON SCHEMA {schemas} TO {role}; "
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {role};"
        )
    owner = _owner(settings)
    if owner is None:
        database = _quoted(addresses(options_of(settings.database_url.get_secret_value()))[0].database)
        return f"As the owner of the database: GRANT CREATE ON DATABASE {database} TO {role};"
    return f"Connect as the role that owns the tables, or make this one a member of it: GRANT {_quoted(owner)} TO {role};"


def _owner(settings: DatabaseSettings) -> str | None:
    """Return the role that owns the tables; None when there are none."""
    try:
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=5) as connection:
            row = connection.execute(_QUERIES["owner_of_tables"]).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else str(row[0])


def _password_place(options: Mapping[str, str]) -> str:
    """Return where the given password comes from."""
    if os.environ.get("PGPASSWORD") and options.get("password") == os.environ["PGPASSWORD"]:
        return "PGPASSWORD"
    return URL_VARIABLE if options.get("password") else options.get("passfile", "~/.pgpass")


def _hba_line(address: Address) -> str:
    who = f"{_quoted(address.database)} {_quoted(address.role)}"
    if address.socket_path is not None:
        return f"local {who} scram-sha-256"
    own = own_address(address)
    mask = 128 if ":" in own else 32
    return f"host {who} {own}/{mask} scram-sha-256"


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string() if name else '""'
