"""The API of libsql-client: one client for a file or a server, for every event loop and for none.

Code for ``libsql_client`` runs with ``import aiolibsql.client as libsql_client``. The clients stand
on `aiolibsql.connect` and `aiolibsql.dbapi.connect`, and know nothing of what is behind those.
"""

from aiolibsql.client._client import Client, create_client
from aiolibsql.client._client_sync import ClientSync, create_client_sync
from aiolibsql.client._error import LibsqlError
from aiolibsql.client._result import ResultSet, Row, Value
from aiolibsql.client._statement import InArgs, InStatement, InValue, Statement
from aiolibsql.client._transaction import Transaction
from aiolibsql.client._transaction_sync import TransactionSync

__all__ = [
    "Client",
    "ClientSync",
    "InArgs",
    "InStatement",
    "InValue",
    "LibsqlError",
    "ResultSet",
    "Row",
    "Statement",
    "Transaction",
    "TransactionSync",
    "Value",
    "create_client",
    "create_client_sync",
]
