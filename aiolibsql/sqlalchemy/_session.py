"""`AsyncSession` and `async_sessionmaker` that close on whichever event loop runs."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import sqlalchemy.ext.asyncio as sqla

from aiolibsql import _runtime

_SessionT = TypeVar("_SessionT", bound="AsyncSession")


class _Begun:
    """A session in a transaction, as ``async with async_sessionmaker().begin()`` enters it."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def __aenter__(self) -> AsyncSession:
        self._transaction = self._session.begin()
        await self._transaction.__aenter__()
        return self._session

    async def __aexit__(self, *exc_info: object) -> None:
        async def leave() -> None:
            try:
                await self._transaction.__aexit__(*exc_info)
            finally:
                await self._session.close()

        await _runtime.shielded(leave)


class AsyncSession(sqla.AsyncSession):
    """`sqlalchemy.ext.asyncio.AsyncSession` for every event loop."""

    async def __aexit__(self, type_: object, value: object, traceback: object) -> None:
        await _runtime.shielded(self.close)

    def _maker_context_manager(self) -> Any:
        return _Begun(self)


class async_sessionmaker(sqla.async_sessionmaker[_SessionT]):  # noqa: N801 - SQLAlchemy's name
    """`sqlalchemy.ext.asyncio.async_sessionmaker` whose sessions are for every event loop."""

    @overload
    def __init__(self, bind: Any = None, *, class_: type[_SessionT], **options: Any) -> None: ...

    @overload
    def __init__(
        self: async_sessionmaker[AsyncSession], bind: Any = None, **options: Any
    ) -> None: ...

    def __init__(self, bind: Any = None, *, class_: Any = AsyncSession, **options: Any) -> None:
        super().__init__(bind, class_=class_, **options)
