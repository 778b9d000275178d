"""Owns one client from its greeting to its end: the commands of the protocol, each answered in its packets.

mysql-mimic makes and reads the packets. What is said in them is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from mysql_mimic.types import Capabilities, Commands, ServerStatus, read_uint_len

from mindsql.errors import Cancelled, LimitError, MindSQLError, TimeLimitError
from mindsql.result import Result
from mindsql.server.mysql import information_schema
from mindsql.server.mysql.client_session import ClientSession, Host
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.errors import number as number_of
from mindsql.server.mysql.lexer import placeholders
from mindsql.server.mysql.login import CAPABILITIES, Door, Login
from mindsql.server.mysql.parameters import Kind, read_values
from mindsql.server.mysql.replies import FRESH, Replies
from mindsql.server.mysql.rows import PacketRows
from mindsql.server.mysql.stream import Gone, Stream
from mindsql.server.mysql.types import definition, mysql_type

if TYPE_CHECKING:
    from mindsql.server.service import RemoteSession

T = TypeVar("T")

_LOGIN_SECONDS = 10
_LEAVE_SECONDS = 2
_STATEMENTS = 1000
_PREPARED_CHARACTERS = 16_000_000
_SHORT_TEXT = 10_000
"""Reading so much takes less time than going to another thread and back."""


@dataclass
class Prepared:
    """A prepared statement: its text, how many `?` it has, and what is known of their values."""

    text: str
    count: int
    kinds: list[Kind] = field(default_factory=list)
    long: dict[int, bytearray] = field(default_factory=dict)


class Connection:
    """One client.

    Attributes:
        id: Its number, for KILL.
        conversation: What it has said; None until it has logged in.
        doing: The command that is being answered, "Sleep" between two.
        statement: The text that runs.
        since: When that began, in seconds of `time.monotonic`.
    """

    def __init__(self, door: Door, host: Host, stream: Stream, number: int) -> None:
        self.service = door.service
        self.id = number
        self.conversation: ClientSession | None = None
        self.user = "unauthenticated user"
        self.doing = "Connect"
        self.statement: str | None = None
        self.since = time.monotonic()
        self._door = door
        self._host = host
        self._stream = stream
        self._replies = Replies(CAPABILITIES, self._status)
        self._prepared: dict[int, Prepared] = {}
        self._attributes: dict[str, str] = {}
        self._numbers = 0
        self._stopped = False  # the statement that runs is to end
        self._over = False  # no further command is taken
        self._busy = False
        self._stopping: asyncio.Task[None] | None = None
        stream.reader.on_gone = self.leave
        self._commands: dict[int, Callable[[bytes], Awaitable[None]]] = {
            Commands.COM_QUERY: self._query,
            Commands.COM_INIT_DB: self._use,
            Commands.COM_PING: self._ping,
            Commands.COM_FIELD_LIST: self._field_list,
            Commands.COM_STMT_PREPARE: self._prepare,
            Commands.COM_STMT_EXECUTE: self._execute,
            Commands.COM_STMT_SEND_LONG_DATA: self._long_data,
            Commands.COM_STMT_RESET: self._reset_statement,
            Commands.COM_STMT_CLOSE: self._close_statement,
            Commands.COM_RESET_CONNECTION: self._reset,
            Commands.COM_CHANGE_USER: self._change_user,
            Commands.COM_PROCESS_KILL: self._kill,
            Commands.COM_STATISTICS: self._statistics,
            Commands.COM_SET_OPTION: self._set_option,
        }

    # Life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the client until it leaves, or is made to."""
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                logged_in = await self._log_in()
            if logged_in:
                self._stream.limit = self.service.options.body_bytes
                while not self._over:
                    await self._command()
        except (Gone, TimeoutError):
            pass
        finally:
            self._over = True
            self._stream.close()
            if self._stopping is not None:
                await self._stopping
            if self.conversation is not None:
                await asyncio.shield(self.service.run(self.conversation.session.close))

    @property
    def session(self) -> RemoteSession:
        """The service's session of this client."""
        return self._told.session

    @property
    def _told(self) -> ClientSession:
        assert self.conversation is not None
        return self.conversation

    def stop(self) -> None:
        """End the statement that runs, if one does."""
        if self._busy and not self._stopped:
            self._stopped = True
            self._stopping = asyncio.ensure_future(self._interrupt())

    async def _interrupt(self) -> None:
        # More than once: what waits for a worker, or is between two statements of DuckDB's, would not notice.
        while self._busy:
            if self.conversation is not None:
                self.conversation.session.interrupt()
            await asyncio.sleep(0.05)

    def leave(self) -> None:
        """End the statement that runs, and then the connection; a client that does not read is not waited for."""
        self._over = True
        self.stop()
        if self._busy:
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, self._stream.abort)
        else:
            self._stream.close()

    def finish(self) -> None:
        """End the connection when the statement that runs has ended."""
        self._over = True
        if not self._busy:
            self._stream.close()

    async def _execution(self, call: Callable[[], T]) -> T:
        """Run something of the session in a worker; it can be stopped from outside."""

        def stoppable() -> T:
            if self._stopped:
                raise Cancelled
            return call()

        execution = asyncio.ensure_future(self.service.run(stoppable))
        try:
            return await asyncio.shield(execution)
        except asyncio.CancelledError:
            self.leave()
            with contextlib.suppress(Exception):
                await execution
            raise

    # Logging in -------------------------------------------------------------------------------------------

    async def _log_in(self) -> bool:
        try:
            login = await self._door.greet(self._stream, self.id)
            self._attributes = login.attributes
            self._replies.capabilities = login.capabilities
            await self._enter(login)
        except MindSQLError as error:
            await self._fail(error)
            return False
        await self._ok()
        return True

    async def _enter(self, login: Login) -> None:
        """Open the session of a client that was let in. Raises MindSQLError."""

        def open_session() -> ClientSession:
            session = self.service.open(login.principal, "mysql")
            session.clean = False  # what is SET and USEd must not reach another client
            try:
                conversation = ClientSession(session, self._host, self.id, login)
                if login.database:
                    conversation.use(login.database)
            except BaseException:
                session.close()
                raise
            session.end()
            return conversation

        opening = asyncio.ensure_future(self.service.run(open_session))
        try:
            self.conversation = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self.conversation = await opening  # so that it is closed
            raise
        except LimitError as error:
            raise MySQLError(error.message, 1040, "08004", hint=error.hint) from error
        self.user = login.user

    @property
    def address(self) -> str:
        """Where the client is."""
        return self._stream.address

    # Commands ---------------------------------------------------------------------------------------------

    async def _command(self) -> None:
        self._stream.restart()
        self.doing, self.statement, self.since = "Sleep", None, time.monotonic()
        try:
            async with asyncio.timeout(self.service.options.idle_seconds):
                data = await self._stream.read()
        except TimeoutError:
            await self._fail(MySQLError("the connection was idle for too long", 4031, "HY000"))
            raise
        except MySQLError as error:
            self._over = True
            await self._fail(error)
            return
        if not data or data[0] == Commands.COM_QUIT:
            raise Gone
        self._busy, self._stopped = True, False
        self.doing, self.since = "Query", time.monotonic()
        failed: BaseException | None = None
        try:
            command = self._commands.get(data[0])
            if command is None:
                raise MySQLError(f"the command {data[0]:#04x} is not known", 1047, "08S01")
            if self.session.id not in self.service.sessions:
                self._over = True
                raise MySQLError("the session was closed", 4031, "HY000", hint="connect again")
            await command(data[1:])
        except Gone:
            raise
        except Exception as error:  # whatever it is, the client must hear of it
            failed = error
            await self._fail(error)
        finally:
            self._busy = False
            self._count(data[0], failed)
            if self._stopping is not None:
                await self._stopping
                self._stopping = None
            if self.conversation is not None:
                self.conversation.session.end()

    def _count(self, command: int, error: BaseException | None) -> None:
        """Count a command, as HTTP requests are counted; its status is the error's number, or 0."""
        if command in self._commands:
            status = number_of(error)[0] if error is not None else 0
            name = Commands(command).name.lower()
            self.service.metrics.request(name, "COM", status, time.monotonic() - self.since, door="mysql")

    async def _query(self, data: bytes) -> None:
        charset = self._told.variables.charset("character_set_client")
        reader = BytesIO(data)
        if self._replies.can(Capabilities.CLIENT_QUERY_ATTRIBUTES):
            with _reading():
                count = read_uint_len(reader)
                read_uint_len(reader)
                read_values(reader, count, charset, [], named=True)
        # Drivers put the bytes of a BLOB into the text as they are.
        text = reader.read().decode(charset.codec, "surrogateescape")
        statements = await self._statements(text)
        if not statements:
            raise MySQLError("the query is empty", 1065, "42000")
        if len(statements) > 1 and not self._replies.can(Capabilities.CLIENT_MULTI_STATEMENTS):
            raise MySQLError(
                "several statements in one are not allowed",
                1064,
                "42000",
                hint="send them one by one, or connect with MULTI_STATEMENTS",
            )
        for place, statement in enumerate(statements, 1):
            await self._answer(statement, None, more=place < len(statements))

    async def _statements(self, text: str) -> list[str]:
        if len(text) < _SHORT_TEXT:
            return self._told.statements(text)
        return await self._guarded(lambda: self._told.statements(text))

    async def _answer(
        self, text: str, parameters: list[Any] | None, more: bool = False, binary: bool = False
    ) -> None:
        """Run a statement and send what it gives."""
        told, stream = self._told, self._stream
        self.statement = text

        def begin() -> PacketRows | Result:
            result = told.answer(text, parameters)
            if result.kind != "rows":
                if result.schema:
                    result.fetchall()
                return result
            rows = PacketRows(
                result,
                charset=told.variables.charset("character_set_results"),
                zone=told.variables.zone,
                binary=binary,
                most=self.service.options.rows,
                wanted=int(told.variables.get("sql_select_limit") or 0),
            )
            rows.begin(stream, self._replies.head_of_rows(rows.columns.definitions))
            return rows

        outcome = await self._guarded(begin)
        if isinstance(outcome, PacketRows):
            while outcome.more:
                await stream.flush()
                await self._guarded(lambda: outcome.put(stream))
            told.affected = outcome.sent
            self.session.sent(outcome.sent)
            await stream.send(self._replies.end_of_rows(more))
        else:
            affected = max(outcome.rowcount, 0)
            await stream.send(self._replies.done(affected, len(told.warnings), outcome.message, more))

    async def _guarded(self, call: Callable[[], T]) -> T:
        """As `_execution`; what was stopped says so, however it noticed."""
        try:
            return await self._execution(call)
        except Gone:
            raise
        except Exception as error:  # what is stopped fails in any way: DuckDB's, Arrow's, an engine's
            stopped = self.session.cause(Cancelled())
            if self._stopped or isinstance(stopped, TimeLimitError):
                raise stopped from error
            raise

    async def _use(self, data: bytes) -> None:
        with _reading():
            name = self._told.variables.charset("character_set_client").decode(data)
        await self._guarded(lambda: self._told.use(name))
        await self._ok()

    async def _ping(self, data: bytes) -> None:
        await self._ok()

    async def _field_list(self, data: bytes) -> None:
        """The columns of a table, for clients that complete names."""
        told = self._told
        with _reading():
            table = told.variables.charset("character_set_client").decode(data.partition(b"\0")[0])
        charset = told.variables.charset("character_set_results")
        query = (
            f'SELECT "COLUMN_NAME" FROM ({information_schema.TABLES["columns"]}) WHERE "TABLE_SCHEMA" = $1 '
            'AND "TABLE_NAME" = $2 ORDER BY "ORDINAL_POSITION" ASC'
        )
        names = await self._guarded(
            lambda: told.session.connection.execute(query, [told.database, table]).fetchall()
        )
        text = mysql_type("VARCHAR")
        columns = [definition(name, text, charset, table=table, is_com_field_list=True) for (name,) in names]
        await self._stream.send(*columns, self._replies.end_of_rows())

    async def _kill(self, data: bytes) -> None:
        self._host.kill(int.from_bytes(data[:4], "little"), True, self.session)
        await self._ok()

    async def _statistics(self, data: bytes) -> None:
        await self._stream.send(f"Threads: {len(self._host.processes(self.session))}".encode())

    async def _set_option(self, data: bytes) -> None:
        if data[:2] == b"\0\0":
            self._replies.capabilities |= Capabilities.CLIENT_MULTI_STATEMENTS
        else:
            self._replies.capabilities &= ~Capabilities.CLIENT_MULTI_STATEMENTS
        await self._stream.send(self._replies.end_of_rows())

    async def _reset(self, data: bytes) -> None:
        await self._guarded(self._told.reset)
        self._prepared.clear()
        await self._ok()

    async def _change_user(self, data: bytes) -> None:
        """Another user takes over: a session of its own, as if it had connected."""
        charset = self._told.variables.charset("character_set_client")
        with _reading():
            name, _, rest = data.partition(b"\0")
            user = charset.decode(name)
            database = charset.decode(rest[1 + rest[0] :].partition(b"\0")[0])
        old, self.conversation = self._told.session, None
        self._prepared.clear()
        await self.service.run(old.close)
        try:
            principal = await self._door.let_in(self._stream, user)
            await self._enter(Login(principal, user, database, attributes=self._attributes))
        except MindSQLError as error:
            self._over = True
            await self._fail(error)
            raise Gone from error
        await self._ok()

    # Prepared statements ----------------------------------------------------------------------------------

    async def _prepare(self, data: bytes) -> None:
        charset = self._told.variables.charset("character_set_client")
        statements = await self._statements(data.decode(charset.codec, "surrogateescape"))
        if len(statements) != 1:
            raise MySQLError("one statement is prepared at a time", 1064, "42000")
        if len(self._prepared) >= _STATEMENTS:
            raise MySQLError(f"{_STATEMENTS} statements are prepared, and no more are allowed", 1461, "42000")
        size = len(statements[0]) + sum(len(prepared.text) for prepared in self._prepared.values())
        if size > _PREPARED_CHARACTERS:
            raise MySQLError("the prepared statements hold too much text", 1461, "42000", hint="close some of them")
        self._numbers += 1
        statement = Prepared(statements[0], placeholders(statements[0]))
        self._prepared[self._numbers] = statement
        await self._stream.send(*self._replies.prepared(self._numbers, statement.count, charset))

    def _statement(self, data: bytes) -> Prepared:
        statement = self._prepared.get(int.from_bytes(data[:4], "little"))
        if statement is None:
            raise MySQLError("there is no such prepared statement", 1243, "HY000")
        return statement

    async def _execute(self, data: bytes) -> None:
        statement = self._statement(data)
        charset = self._told.variables.charset("character_set_client")
        reader = BytesIO(data[9:])
        named = self._replies.can(Capabilities.CLIENT_QUERY_ATTRIBUTES)
        with _reading():
            flags, count = data[4], statement.count
            if named and (count or flags & 0x08):
                count = read_uint_len(reader)
        values, statement.kinds = read_values(reader, count, charset, statement.kinds, statement.long, named)
        statement.long = {}
        await self._answer(statement.text, values[: statement.count] or None, binary=True)

    async def _long_data(self, data: bytes) -> None:
        statement = self._statement(data)
        buffer = statement.long.setdefault(int.from_bytes(data[4:6], "little"), bytearray())
        if len(buffer) + len(data) > self._stream.limit:
            raise MySQLError(f"a value has more than {self._stream.limit} bytes", 1153, "08S01")
        buffer += data[6:]  # no answer

    async def _reset_statement(self, data: bytes) -> None:
        self._statement(data).long = {}
        await self._ok()

    async def _close_statement(self, data: bytes) -> None:
        self._prepared.pop(int.from_bytes(data[:4], "little"), None)  # no answer

    # Answers ----------------------------------------------------------------------------------------------

    def _status(self) -> ServerStatus:
        told = self.conversation
        if told is None:
            return FRESH
        status = ServerStatus(0)
        if told.autocommit:
            status |= ServerStatus.SERVER_STATUS_AUTOCOMMIT
        if told.in_transaction:
            status |= ServerStatus.SERVER_STATUS_IN_TRANS
        if not told.variables.backslashes:
            status |= ServerStatus.SERVER_STATUS_NO_BACKSLASH_ESCAPES
        return status

    async def _ok(self) -> None:
        await self._stream.send(self._replies.done())

    async def _fail(self, error: BaseException) -> None:
        await self._stream.send(self._replies.failed(error))


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """For taking a packet apart: what is missing in it is the client's fault."""
    try:
        yield
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MySQLError("the packet cannot be read", 1835, "HY000") from error
