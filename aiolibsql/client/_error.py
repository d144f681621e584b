"""`LibsqlError`, and what errors of the driver become of it."""

from __future__ import annotations

from aiolibsql.exceptions import AuthError, ConnectError, Error, StreamExpiredError


class LibsqlError(RuntimeError):
    """Whatever goes wrong in a database, on the way to it, or with a client that was closed.

    The driver's own exception, if there is one, is its ``__cause__``. Arguments that can't be
    stored are a `TypeError`, `ValueError` or `OverflowError` as anywhere in Python.

    Args:
        message: What went wrong.
        code: A stable name for it, such as ``"SQLITE_CONSTRAINT_UNIQUE"`` or ``"CLIENT_CLOSED"``.

    Attributes:
        code: The name. SQLite's extended result code, or the server's name, if one of them said
            what was wrong.
        explanation: The message without the code. ``str()`` gives both.
    """

    code: str
    explanation: str

    def __init__(self, message: str, code: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.explanation = message

    def __reduce__(self) -> tuple[type[LibsqlError], tuple[str, str]]:
        return type(self), (self.explanation, self.code)


def translated(error: Error, fallback: str) -> LibsqlError:
    """Return the error for one of the driver's, whose cause it should become.

    Args:
        error: The driver's.
        fallback: The code if neither SQLite nor a server has said one.
    """
    if error.code is not None:
        return LibsqlError(str(error), error.code)
    for kind, code in (
        (StreamExpiredError, "STREAM_CLOSED"),
        ((AuthError, ConnectError), "SERVER_ERROR"),
    ):
        if isinstance(error, kind):
            return LibsqlError(str(error), code)
    return LibsqlError(str(error), fallback)


def client_closed() -> LibsqlError:
    """Return the error for a client that was closed."""
    return LibsqlError("the client is closed", "CLIENT_CLOSED")


def transaction_closed() -> LibsqlError:
    """Return the error for a transaction that is over."""
    return LibsqlError("the transaction is closed", "TRANSACTION_CLOSED")
