"""One read-only transaction of a PostgreSQL server, and what its refusals mean to whoever has to mend them.

What is read in it stands in `postgres.py`, how rows come over in `postgres_copy.py`. No message repeats the server's
own text, which quotes values, nor anything of the address but host, port and database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2i_pipeline.errors import ConfigurationError, E2IError, SourceError, ToolUnavailable

if TYPE_CHECKING:
    from psycopg2.extensions import connection as PgConnection  # noqa: N812 - the class is written in lower case

VARIABLE = "E2I_SOURCE_URL"
"""Environment variable that holds the address."""

APPLICATION = "e2i-pipeline"
"""What the server shows as the name of the program, in `pg_stat_activity` and in its log."""

_KEEPALIVES: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that is gone without a word is noticed after a minute, and not after the two hours of TCP's default."""

_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL extra_float_digits = 1",  # the shortest text that reads back as the same number
    # Where a policy would hide rows from this role, the statement fails: half a table must not pass for the whole.
    "SET LOCAL row_security = off",
)
"""In the transaction and not in the connection's options, which a pooler such as PgBouncer refuses."""

_REFUSED = (
    ("password authentication failed", "refused the user or the password. Set both in {variable}"),
    ("no password supplied", "wants a password, and there is none. Set it in {variable}"),
    ("no pg_hba.conf entry", "does not let this user in from this machine, or not without TLS. Add sslmode=require to "
     "{variable}, or have the server's pg_hba.conf changed"),
    ("certificate", "has a certificate that could not be verified. Add sslrootcert=<file> to {variable}"),
    ("does not support SSL", "offers no TLS, and sslmode in {variable} wants it"),
    ("database", "does not have that database. Set it in {variable}"),
    ("role", "does not have that user, or does not let it log in. Set it in {variable}"),
)  # fmt: skip
"""What a server that answers may say to a login, and what it means; the first that fits. Trying again does not help."""


class Postgres:
    """A server and database that is read.

    Args:
        url: Its address, which may carry a password.
        connect_timeout: Seconds until a server that does not answer counts as unreachable.
        statement_timeout: Seconds that one statement may take; the reading of a table is one.

    Raises:
        ConfigurationError: There is no address, or none that libpq understands.
    """

    def __init__(self, url: str, connect_timeout: int, statement_timeout: int) -> None:
        if not url.strip():
            raise ConfigurationError(
                f"source.kind is postgres, and {VARIABLE} does not say where the database is. Set it to "
                "postgresql://user:password@host:5432/database?sslmode=verify-full, in the environment or in .env; "
                "it stands in no file of settings."
            )
        self._url, self._connect_timeout, self._seconds = url.strip(), connect_timeout, statement_timeout
        self.where = _where(self._url)
        self.database = host_and_database(self._url)

    @contextmanager
    def transaction(self, table: str) -> Iterator[Any]:
        """A cursor in a transaction of its own that sees one moment of the database and can change nothing.

        Args:
            table: What it is for, as the user knows it: it stands in the messages.

        Raises:
            ToolUnavailable: The server cannot be reached, went away, or took too long.
            SourceError: It refused.
        """
        connection = self.begin(table)
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def begin(self, table: str) -> "PgConnection":
        """As `transaction`, for a caller who closes the connection."""
        import psycopg2

        try:
            connection = psycopg2.connect(
                self._url,
                connect_timeout=self._connect_timeout,
                application_name=APPLICATION,
                client_encoding="UTF8",
                **_KEEPALIVES,
            )
        except psycopg2.Error as err:
            raise self._no_login(str(err)) from None
        except (UnicodeError, ValueError):
            raise _unreadable() from None
        try:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {1000 * self._seconds:d}")
                cursor.execute("; ".join(_SETTINGS))
        except psycopg2.Error as err:
            connection.close()
            raise self.refusal(table, "", err) from None
        return connection

    def refusal(self, table: str, relation: str, err: Exception) -> E2IError:
        """What an error of a statement means, without a word of what the server said.

        Args:
            table: Canonical table.
            relation: The table in the database, as SQL; empty where no table was asked.
            err: An error of psycopg2.
        """
        code = getattr(err, "pgcode", None) or ""
        what = f"{table} ({relation} in {self.where})" if relation else f"The database {self.where}"
        if code == "42501":
            return SourceError(
                f"{what} may not be read in full by the user of {VARIABLE}. As its owner: GRANT USAGE ON SCHEMA "
                f"{relation.split('.')[0] or '<schema>'}; GRANT SELECT ON {relation or '<table>'}; and where row-level "
                "security hides rows of it: ALTER ROLE <user> BYPASSRLS. Nothing else is needed."
            )
        if code in ("42P01", "3F000", "42703"):
            return SourceError(
                f"{what}: a table, schema or column is not there (any more). See source.postgres.schema, .tables and "
                ".watermark."
            )
        if code in ("57014", "55P03"):
            return ToolUnavailable(
                f"{what} could not be read within {self._seconds} s, and the server ended the statement. Raise "
                "source.postgres.statement_timeout, or read when the server has less to do."
            )
        if not code or code[:2] in ("08", "53", "57", "58", "40", "XX"):
            return ToolUnavailable(
                f"{what}: the connection was lost, or the server stopped or was overloaded (SQLSTATE "
                f"{code or 'none'}). Nothing of this read was kept. Run again when it is up."
            )
        return SourceError(
            f"{what}: the server could not compute the rows as asked (SQLSTATE {code}). Try SELECT * FROM "
            f"{relation or '<table>'} as the same user; its message is not repeated here, since it may quote a row."
        )

    def _no_login(self, text: str) -> E2IError:
        """Told by the server's text, which psycopg2 gives without a code; an unknown one may pass by itself."""
        if "FATAL" in text or "SSL" in text or "certificate" in text:
            for words, meaning in _REFUSED:
                if words in text:
                    return SourceError(f"The database {self.where} {meaning.format(variable=VARIABLE)}.")
        return ToolUnavailable(
            f"The database {self.where} could not be reached within {self._connect_timeout} s, or takes no login now. "
            f"See that the server is up, that this machine may reach it, and that {VARIABLE} names it."
        )


def host_and_database(url: str) -> str:
    """`host/database` of an address: what it says of where the data is, whatever port or user leads there."""
    parts = _parts(url)
    return f"{parts.get('host', 'localhost')}/{parts.get('dbname', parts.get('user', ''))}"


def _where(url: str) -> str:
    parts = _parts(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', '5432')}/{parts.get('dbname', parts.get('user', ''))}"


def _parts(url: str) -> dict[str, str]:
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        return parse_dsn(url)
    except (psycopg2.Error, UnicodeError, ValueError):
        raise _unreadable() from None  # the parser quotes the address


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        f"{VARIABLE} is no address of a PostgreSQL database. Write postgresql://user:password@host:5432/database"
        "?sslmode=verify-full, with %-codes for : / @ ? # % in user and password."
    )
