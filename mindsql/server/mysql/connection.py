"""Owns one client from its greeting to its end: the commands of the protocol, each answered in its packets.

mysql-mimic makes and reads the packets. What is said in them is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from mysql_mimic import packets
from mysql_mimic.charset import CharacterSet
from mysql_mimic.constants import DEFAULT_SERVER_CAPABILITIES
from mysql_mimic.types import Capabilities, Commands, ServerStatus, read_uint_len, uint_2, uint_4
from mysql_mimic.utils import nonce as make_nonce

from mindsql.errors import Cancelled, MindSQLError
from mindsql.result import Result
from mindsql.server.mysql import auth, information_schema
from mindsql.server.mysql.conversation import Conversation, Host
from mindsql.server.mysql.errors import MySQLError, failure
from mindsql.server.mysql.lexer import placeholders
from mindsql.server.mysql.parameters import Kind, read_values
from mindsql.server.mysql.rows import Rows
from mindsql.server.mysql.stream import Gone, Stream
from mindsql.server.mysql.types import definition, mysql_type
from mindsql.server.mysql.variables import VERSION

if TYPE_CHECKING:
    from mindsql.server.service import Service, Session

T = TypeVar("T")

_CAPABILITIES = (
    DEFAULT_SERVER_CAPABILITIES
    | Capabilities.CLIENT_MULTI_STATEMENTS
    | Capabilities.CLIENT_MULTI_RESULTS
    | Capabilities.CLIENT_PS_MULTI_RESULTS
    | Capabilities.CLIENT_TRANSACTIONS
    | Capabilities.CLIENT_FOUND_ROWS
    | Capabilities.CLIENT_LONG_FLAG
)
_LOGIN_SECONDS = 10
_STATEMENTS = 1000
_FRESH = ServerStatus.SERVER_STATUS_AUTOCOMMIT | ServerStatus.SERVER_STATUS_NO_BACKSLASH_ESCAPES
"""The status at login. From it drivers know how to escape, so it must be right from the first packet on."""
_MORE = ServerStatus.SERVER_MORE_RESULTS_EXISTS


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

    def __init__(
        self,
        service: Service,
        host: Host,
        stream: Stream,
        number: int,
        tls: ssl.SSLContext | None,
        keys: auth.Keys,
    ) -> None:
        self.service = service
        self.id = number
        self.conversation: Conversation | None = None
        self.user = "unauthenticated user"
        self.doing = "Connect"
        self.statement: str | None = None
        self.since = time.monotonic()
        self._host = host
        self._stream = stream
        self._tls = tls
        self._keys = keys
        self._capabilities = _CAPABILITIES | (Capabilities.CLIENT_SSL if tls else Capabilities(0))
        self._offered = self._capabilities
        self._prepared: dict[int, Prepared] = {}
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
    def session(self) -> Session:
        """The service's session of this client."""
        return self._told.session

    @property
    def _told(self) -> Conversation:
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
        """End the statement that runs, and then the connection."""
        self._over = True
        self.stop()
        if not self._busy:
            self._stream.close()

    def finish(self) -> None:
        """End the connection when the statement that runs has ended."""
        self._over = True
        if not self._busy:
            self._stream.close()

    async def _work(self, call: Callable[[], T]) -> T:
        """Run something of the session in a worker; it can be stopped from outside."""

        def stoppable() -> T:
            if self._stopped:
                raise Cancelled
            return call()

        work = asyncio.ensure_future(self.service.run(stoppable))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.leave()
            with contextlib.suppress(Exception):
                await work
            raise

    # Logging in -------------------------------------------------------------------------------------------

    async def _log_in(self) -> bool:
        nonce = make_nonce(20)
        await self._stream.send(
            packets.make_handshake_v10(
                capabilities=self._offered,
                server_charset=CharacterSet.utf8mb4,
                server_version=VERSION,
                connection_id=self.id,
                auth_data=nonce + b"\0",
                status_flags=_FRESH,
                auth_plugin_name=auth.NATIVE,
            )
        )
        try:
            greeting = packets.parse_handshake_response(self._offered, await self._stream.read())
            if isinstance(greeting, packets.SSLRequest):
                if self._tls is None:
                    raise MySQLError("this server speaks no TLS", 1043, "08S01")
                await self._stream.start_tls(self._tls)
                greeting = packets.parse_handshake_response_41(self._offered, await self._stream.read())
            self._capabilities = greeting.capabilities
            if Capabilities.CLIENT_PROTOCOL_41 not in self._capabilities:
                raise MySQLError("the client's protocol is too old", 1043, "08S01")
            await self._enter(
                greeting.username, greeting.client_plugin, greeting.auth_response, nonce, greeting.database
            )
            told = self._told
            told.variables.set_names(greeting.client_charset.name)
            if greeting.connect_attrs.get("_client_name", "").startswith("Node-MySQL"):
                # It escapes with backslashes whatever it is told.
                told.variables.set("sql_mode", "ANSI_QUOTES,PIPES_AS_CONCAT")
        except (MindSQLError, ValueError, IndexError) as error:
            if not isinstance(error, MindSQLError):
                error = MySQLError("the greeting cannot be read", 1043, "08S01")
            await self._fail(error)
            return False
        await self._ok()
        return True

    async def _enter(
        self, user: str, plugin: str | None, response: bytes, nonce: bytes, database: str | None
    ) -> None:
        """Check who the client is and open its session. Raises MindSQLError."""
        attempt = auth.Attempt(
            user=user,
            plugin=plugin or "",
            response=response,
            nonce=nonce,
            encrypted=self._stream.encrypted,
            address=self.address,
            send=self._stream.send,
            receive=self._stream.read,
        )
        principal = await auth.authenticate(attempt, self.service, self._keys)

        def open_session() -> Conversation:
            session = self.service.open(principal, "mysql")
            session.clean = False  # what is SET and USEd must not reach another client
            try:
                conversation = Conversation(session, self._host, self.id, user)
                if database:
                    conversation.use(database)
            except BaseException:
                session.close()
                raise
            session.end()
            return conversation

        self.conversation = await self.service.run(open_session)
        self.user = user

    @property
    def address(self) -> str:
        """Where the client is."""
        peer = self._stream.writer.get_extra_info("peername")
        return str(peer[0]) if peer else "local"

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
            await self._fail(error)
        finally:
            self._busy = False
            if self._stopping is not None:
                await self._stopping
                self._stopping = None
            with contextlib.suppress(MindSQLError):
                self.session.end()

    async def _query(self, data: bytes) -> None:
        charset = self._told.variables.charset("character_set_client")
        reader = BytesIO(data)
        if Capabilities.CLIENT_QUERY_ATTRIBUTES in self._capabilities:
            count = read_uint_len(reader)
            read_uint_len(reader)
            read_values(reader, count, charset, [], named=True)
        # Drivers put the bytes of a BLOB into the text as they are.
        text = reader.read().decode(charset.codec, "surrogateescape")
        statements = self._told.statements(text)
        if not statements:
            raise MySQLError("the query is empty", 1065, "42000")
        if len(statements) > 1 and Capabilities.CLIENT_MULTI_STATEMENTS not in self._capabilities:
            raise MySQLError(
                "several statements in one are not allowed",
                1064,
                "42000",
                hint="send them one by one, or connect with MULTI_STATEMENTS",
            )
        for place, statement in enumerate(statements, 1):
            await self._answer(statement, None, more=place < len(statements))

    async def _answer(
        self, text: str, parameters: list[Any] | None, more: bool = False, binary: bool = False
    ) -> None:
        """Run a statement and send what it gives."""
        told, stream = self._told, self._stream
        began = time.monotonic()
        self.statement = text

        def begin() -> Rows | Result:
            result = told.answer(text, parameters)
            if result.kind != "rows":
                if result.schema:
                    result.fetchall()
                return result
            rows = Rows(
                result,
                charset=told.variables.charset("character_set_results"),
                zone=told.variables.zone,
                binary=binary,
                most=self.service.options.rows,
                wanted=int(told.variables.get("sql_select_limit") or 0),
            )
            # The first rows come before the head: what fails, fails as a whole.
            head = [packets.make_column_count(self._capabilities, len(rows.columns.definitions))]
            head += rows.columns.definitions
            if not self._brief:
                head.append(self._eof())
            rows.begin(stream, head)
            return rows

        outcome = await self._guarded(begin)
        if isinstance(outcome, Rows):
            while outcome.more:
                await stream.flush()
                await self._guarded(lambda: outcome.put(stream))
            told.affected = outcome.sent
            self.service.metrics.rows("mysql", outcome.sent)
            await stream.send(self._end_of_rows(_MORE if more else 0))
        else:
            await self._ok(
                max(outcome.rowcount, 0), len(told.warnings), _MORE if more else 0, outcome.message
            )
        self.service.metrics.request("query", "COM_QUERY", 0, time.monotonic() - began, door="mysql")

    async def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return await self._work(call)
        except MindSQLError as error:
            cause = self.session.cause(error)
            if cause is error:
                raise
            raise cause from error

    async def _use(self, data: bytes) -> None:
        name = self._told.variables.charset("character_set_client").decode(data)
        await self._guarded(lambda: self._told.use(name))
        await self._ok()

    async def _ping(self, data: bytes) -> None:
        await self._ok()

    async def _field_list(self, data: bytes) -> None:
        """The columns of a table, for clients that complete names."""
        told = self._told
        table = told.variables.charset("character_set_client").decode(data.partition(b"\0")[0])
        charset = told.variables.charset("character_set_results")
        query = (
            f'SELECT "COLUMN_NAME" FROM ({information_schema.TABLES["columns"]}) WHERE "TABLE_SCHEMA" = $1 '
            'AND "TABLE_NAME" = $2 ORDER BY "ORDINAL_POSITION"'
        )
        names = await self._guarded(
            lambda: told.session.connection.execute(query, [told.database, table]).fetchall()
        )
        text = mysql_type("VARCHAR")
        columns = [definition(name, text, charset, table=table, is_com_field_list=True) for (name,) in names]
        await self._stream.send(*columns, self._end_of_rows())

    async def _kill(self, data: bytes) -> None:
        self._host.kill(int.from_bytes(data[:4], "little"), True, self.session)
        await self._ok()

    async def _statistics(self, data: bytes) -> None:
        await self._stream.send(f"Threads: {len(self._host.processes(self.session))}".encode())

    async def _set_option(self, data: bytes) -> None:
        if data[:2] == b"\0\0":
            self._capabilities |= Capabilities.CLIENT_MULTI_STATEMENTS
        else:
            self._capabilities &= ~Capabilities.CLIENT_MULTI_STATEMENTS
        await self._stream.send(self._end_of_rows())

    async def _reset(self, data: bytes) -> None:
        await self._guarded(self._told.reset)
        self._prepared.clear()
        await self._ok()

    async def _change_user(self, data: bytes) -> None:
        """Another user takes over: a session of its own, as if it had connected."""
        asked = packets.parse_com_change_user(
            self._capabilities, self._told.variables.charset("character_set_client"), data
        )
        old, self.conversation = self._told.session, None
        self._prepared.clear()
        await self.service.run(old.close)
        try:
            # Its answer is to no challenge of ours yet.
            await self._enter(asked.username, None, b"", b"", asked.database)
        except MindSQLError as error:
            self._over = True
            await self._fail(error)
            raise Gone from error
        await self._ok()

    # Prepared statements ----------------------------------------------------------------------------------

    async def _prepare(self, data: bytes) -> None:
        charset = self._told.variables.charset("character_set_client")
        statements = self._told.statements(data.decode(charset.codec, "surrogateescape"))
        if len(statements) != 1:
            raise MySQLError("one statement is prepared at a time", 1064, "42000")
        if len(self._prepared) >= _STATEMENTS:
            raise MySQLError(f"{_STATEMENTS} statements are prepared, and no more are allowed", 1461, "42000")
        self._numbers += 1
        statement = Prepared(statements[0], placeholders(statements[0]))
        self._prepared[self._numbers] = statement
        question = definition("?", mysql_type("VARCHAR"), charset)
        answer = [b"\0" + uint_4(self._numbers) + uint_2(0) + uint_2(statement.count) + b"\0" + uint_2(0)]
        if statement.count:
            answer += [question] * statement.count + ([] if self._brief else [self._eof()])
        await self._stream.send(*answer)

    def _statement(self, data: bytes) -> Prepared:
        statement = self._prepared.get(int.from_bytes(data[:4], "little"))
        if statement is None:
            raise MySQLError("there is no such prepared statement", 1243, "HY000")
        return statement

    async def _execute(self, data: bytes) -> None:
        statement = self._statement(data)
        charset = self._told.variables.charset("character_set_client")
        reader = BytesIO(data[9:])
        flags, count = data[4], statement.count
        named = Capabilities.CLIENT_QUERY_ATTRIBUTES in self._capabilities
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

    # Packets ----------------------------------------------------------------------------------------------

    @property
    def _brief(self) -> bool:
        """Whether the client does without EOF packets."""
        return Capabilities.CLIENT_DEPRECATE_EOF in self._capabilities

    @property
    def _status(self) -> ServerStatus:
        status = ServerStatus(0)
        if self.conversation is not None:
            if self.conversation.autocommit:
                status |= ServerStatus.SERVER_STATUS_AUTOCOMMIT
            if self.conversation.in_transaction:
                status |= ServerStatus.SERVER_STATUS_IN_TRANS
            if not self.conversation.variables.backslashes:
                status |= ServerStatus.SERVER_STATUS_NO_BACKSLASH_ESCAPES
        return status

    async def _ok(self, affected: int = 0, warnings: int = 0, flags: int = 0, message: str = "") -> None:
        packet = packets.make_ok(
            self._capabilities, self._status, affected_rows=affected, warnings=warnings, flags=flags
        )
        await self._stream.send(packet + message.encode())

    def _eof(self, flags: int = 0) -> bytes:
        packet: bytes = packets.make_eof(self._capabilities, self._status, flags=flags)
        return packet

    def _end_of_rows(self, flags: int = 0) -> bytes:
        if not self._brief:
            return self._eof(flags)
        packet: bytes = packets.make_ok(self._capabilities, self._status, eof=True, flags=flags)
        return packet

    async def _fail(self, error: BaseException) -> None:
        number, state, message = failure(error)
        await self._stream.send(b"\xff" + uint_2(number) + b"#" + state.encode() + message.encode())
