"""The change to TLS within a stream, at the moment when the event loop makes it hard."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

from mindsql.server.mysql.stream import Reader, Stream
from tests.server.test_mysql_logins import certificate


def test_tls_that_begins_while_the_server_wakes_up(tmp_path: Path) -> None:
    """The client's first bytes of TLS come after its request was read, and before the server turns to TLS."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(*certificate(tmp_path))
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing)

    async def serve(stream: Stream) -> bytes:
        assert await stream.reader.exactly(4) == b"TLS!"
        await stream.start_tls(server)
        return await stream.reader.exactly(6)

    async def both() -> bytes:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        ours, theirs = socket.socketpair()
        with contextlib.closing(theirs):
            theirs.setblocking(False)

            class Prompt(Reader):
                def feed_data(self, data: Any) -> None:
                    super().feed_data(data)
                    if not begun.is_set():
                        with contextlib.suppress(ssl.SSLWantReadError):
                            tls.do_handshake()
                        theirs.send(outgoing.read())  # the loop sees it together with the reader's waking up
                        begun.set()

            reader = Prompt()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
            stream = Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
            served = asyncio.ensure_future(serve(stream))
            await asyncio.sleep(0)
            theirs.send(b"TLS!")
            await begun.wait()
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await loop.sock_sendall(theirs, outgoing.read())
                    incoming.write(await loop.sock_recv(theirs, 65536))
            tls.write(b"secret")
            await loop.sock_sendall(theirs, outgoing.read())
            try:
                return await served
            finally:
                stream.abort()

    assert asyncio.run(asyncio.wait_for(both(), 60)) == b"secret"
