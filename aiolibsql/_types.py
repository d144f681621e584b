"""The types that signatures are written in; imported by type checkers only."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

if TYPE_CHECKING:
    from aiolibsql._aiolibsql import Connection, Cursor

T = TypeVar("T")

IsolationLevel: TypeAlias = Literal["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"] | None
AutocommitSetting: TypeAlias = bool | Literal[-1, 0, 1]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
Description: TypeAlias = tuple[tuple[str, None, None, None, None, None, None], ...]
RowFactory: TypeAlias = Callable[["Cursor[Any]", tuple[Any, ...]], T] | type[sqlite3.Row] | None
TextFactory: TypeAlias = Callable[[bytes], Any]
BatchOperation: TypeAlias = str | tuple[str] | tuple[str, Parameters | None]
AuthToken: TypeAlias = str | Callable[[], str | Awaitable[str]]
InitHook: TypeAlias = Callable[["Connection[Any]"], Awaitable[object]]

QueryHook: TypeAlias = Callable[[str, float, int, "BaseException | None"], object]
Progress: TypeAlias = Callable[[int, int, int], object]


class ConnectOptions(TypedDict, total=False):
    """The keywords of `connect` that have no say in the type of its result."""

    autocommit: AutocommitSetting
    detect_types: int
    check_same_thread: bool
    cached_statements: int
    uri: bool
    encryption_key: str | bytes | None
    iter_chunk_size: int
    loop: object
    foreign_keys: bool
    text_factory: TextFactory
    pragmas: dict[str, Any] | None
    init_hook: InitHook | None
    trusted_schema: bool | None
    defensive: bool | None
    auth_token: AuthToken | None
    tls: bool | None
    namespace: str | None
    request_timeout: float | None
    connect_timeout: float | None
    sync_url: str | None
    sync_interval: float | None
    read_your_writes: bool | None
    offline: bool
    inline_budget: int
    _check_same_thread: bool
    _uri: bool
