"""What listens at a port: ends TLS 1.3, checks the frames of HTTP/2 and passes them on to gRPC, which nobody else can reach.

gRPC in Python can be told neither to refuse TLS 1.2 nor how many frames of which kind a client may send, and floods of them fill
its memory. So gRPC itself listens in a private folder, and each connection to it is made here, for a client that has passed the
handshake. Where there are no unix sockets (Windows) it listens at a port of the loopback interface; other users of the machine can
connect there, but are nobody and so refused.

All that gRPC sees of a connection is the local address that it came from. That names the client (`caller_of`): it is bound here,
before the connection is made, and no client has a say in it.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import grpc

from edgenode.errors import EdgenodeError
from edgenode.net.addresses import host_port, split_host_port
from edgenode.net.http2 import Budgets, FrameCheck, FrameError
from edgenode.net.once import LogOnce, peer_host
from edgenode.net.ports import bound
from edgenode.scratch import ScratchFolder
from edgenode.threads import in_thread
from edgenode.trust.tls import ServerTls, server_context

HANDSHAKE_SECONDS: Final = 3.0
# How long whoever floods keeps the place that he had.
PENALTY_SECONDS: Final = 1.0
READ_BYTES: Final = 16 * 1024
# For the last words to a client that is hung up on.
CLOSE_SECONDS: Final = 2.0
BACKLOG: Final = 128
# After an accept that failed, as where no file descriptor is left.
AGAIN_SECONDS: Final = 0.1
HAS_UNIX_SOCKETS: Final = os.name == "posix"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a connection: `peer` as gRPC writes addresses, and the certificate shown (DER), if any."""

    peer: str
    certificate: bytes

    @property
    def host(self) -> str:
        return peer_host(self.peer)


NOBODY: Final = Caller("", b"")
_callers: dict[str, Caller] = {}


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """Who makes a call: nobody, without a certificate, for what did not come through a front or has been hung up on since."""
    return _callers.get(context.peer(), NOBODY)


class Front:
    """One port. `fetch` gives what handshakes are made of, in a thread and again for each; where it fails, what it gave last
    counts.

    `limit` connections at once; more are hung up on. `asks_certificate`: of clients, which must be signed by one of the roots.
    """

    def __init__(
        self,
        fetch: Callable[[], ServerTls],
        *,
        asks_certificate: bool,
        limit: int,
        budgets: Budgets,
        unix: bool = HAS_UNIX_SOCKETS,
    ) -> None:
        self._fetch = fetch
        self._asks_certificate = asks_certificate
        self._limit = limit
        self._budgets = budgets
        self._scratch = ScratchFolder(for_sockets=unix)
        self._folder = self._scratch.path
        self._unix = unix
        self.backend = f"unix:{self._folder / 'g'}" if unix else "127.0.0.1:0"
        """Where gRPC is to listen."""
        self._backend_port = 0
        self._numbers = count()
        self._once = LogOnce(logger)
        self._tls = fetch()
        self._context = self._make_context(self._tls)
        # One thread at a time, since each may have memory of its own for good.
        self._reading = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._open: set[asyncio.Task[None]] = set()

    def bind(self, address: str, backend_port: int) -> int:
        """Takes HOST:PORT, for a gRPC that has the port given (1 for a unix socket), and returns the port. Raises OSError.
        Who connects waits until `start`."""
        if not self._unix:
            self._backend_port = backend_port
            self.backend = f"127.0.0.1:{backend_port}"
        listening = bound(*split_host_port(address))
        try:
            listening.setblocking(False)
            # Only a socket that listens holds its port: until then another one can have it, too.
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        self._socket = listening
        port: int = listening.getsockname()[1]
        return port

    def start(self) -> None:
        assert self._socket is not None, "bound"
        self._accepting = asyncio.create_task(self._accept(self._socket), name="accept")

    async def stop_listening(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def close(self) -> None:
        """Hangs up on everybody. To be called when gRPC has stopped."""
        await self.stop_listening()
        for each in self._open:
            each.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._scratch.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                logger.debug("A connection was not accepted: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if len(self._open) >= self._limit:
                accepted.close()
                continue
            task = asyncio.create_task(self._serve(accepted, address), name="client")
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _serve(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        """One connection, until it is over."""
        loop = asyncio.get_running_loop()
        peer = _peer(address)
        check = FrameCheck(self._budgets, time.monotonic())
        client: _Side | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                client = _Side(await self._current())
                await loop.connect_accepted_socket(lambda: client, accepted)
                await asyncio.wait((client.ready, client.over), return_when=asyncio.FIRST_COMPLETED)
        except (OSError, TimeoutError):
            pass
        finally:
            if client is None or not client.ready.done():
                if client is not None:
                    client.abort()
                    client.part()
                accepted.close()
        if client is None or not client.ready.done():
            return
        certificate = client.certificate()
        name, mine = "", None
        try:
            name, mine = self._bound_to_backend()
            _callers[name] = Caller(peer, certificate)
            await loop.sock_connect(mine, self._backend_address())
            backend = _Side()
            await loop.create_connection(lambda: backend, sock=mine)
            mine = None

            def checked(data: bytes) -> None:
                check.feed(data, time.monotonic())
                backend.write(data)

            try:
                backend.join(client, client.write)
                client.join(backend, checked)
                await asyncio.wait((client.over, backend.over), return_when=asyncio.FIRST_COMPLETED)
                if client.error:
                    self._once.warning(peer_host(peer), f"is hung up on: {client.error}")
                    client.abort()
                    # A place that is free at once would be taken by the same flood, at the cost of a handshake.
                    await asyncio.sleep(PENALTY_SECONDS)
                elif not client.over.done():
                    client.close()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(CLOSE_SECONDS):
                            await asyncio.shield(client.over)
            finally:
                backend.abort()
                backend.part()
        except OSError as error:
            logger.debug("A connection could not be passed on: %s", error)
        finally:
            client.abort()
            client.part()
            if mine is not None:
                mine.close()
            self._forget(name)

    def _bound_to_backend(self) -> tuple[str, socket.socket]:
        """A socket that can connect to gRPC, and what gRPC will call it."""
        mine = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
        try:
            mine.setblocking(False)
            if self._unix:
                path = str(self._folder / str(next(self._numbers)))
                mine.bind(path)
                return f"unix:{path}", mine
            mine.bind(("127.0.0.1", 0))
            return f"ipv4:127.0.0.1:{mine.getsockname()[1]}", mine
        except BaseException:
            mine.close()
            raise

    def _forget(self, name: str) -> None:
        _callers.pop(name, None)
        if self._unix and name:
            Path(name.removeprefix("unix:")).unlink(missing_ok=True)

    def _backend_address(self) -> str | tuple[str, int]:
        return self.backend.removeprefix("unix:") if self._unix else ("127.0.0.1", self._backend_port)

    async def _current(self) -> ssl.SSLContext:
        """What the handshake that begins now is made of."""

        def read() -> ServerTls | None:
            try:
                return self._fetch()
            except (EdgenodeError, OSError) as error:
                self._once.warning("Who may connect cannot be read anew", str(error))
                return None

        async with self._reading:
            tls = await in_thread(read)
            if tls is not None and tls != self._tls:
                self._tls, self._context = tls, self._make_context(tls)
            return self._context

    def _make_context(self, tls: ServerTls) -> ssl.SSLContext:
        return server_context(tls, self._asks_certificate, self._folder)


class _Side(asyncio.BufferedProtocol):
    """One of the two connections, that of a client with TLS. It reads no data before it is joined to the other.

    TLS is done here and not by asyncio, whose buffers are a quarter of a megabyte for each connection and come back late.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the handshake is."""
        self.over: asyncio.Future[None] = loop.create_future()
        self.error = ""
        """What is wrong with its frames; a sentence, since an exception would keep what was read alive."""
        self._buffer = bytearray(READ_BYTES)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True) if context is not None else None
        self._transport: asyncio.Transport | None = None
        self._other: _Side | None = None
        self._take: Callable[[bytes], None] | None = None
        self._holds: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._tls is None:
            self.hold("not joined", True)

    def join(self, other: "_Side", take: Callable[[bytes], None]) -> None:
        self._other, self._take = other, take
        self._read()
        self.hold("not joined", False)

    def part(self) -> None:
        """Lets go of everything, so that its memory is free now and not when Python next looks for cycles."""
        self._transport = self._other = self._take = self._tls = None

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(memoryview(self._buffer)[:nbytes])
        if self._tls is None:
            self._deliver(data)
            return
        self._incoming.write(data)
        if not self.ready.done():
            self._shake_hands()
        else:
            self._read()

    def _shake_hands(self) -> None:
        assert self._tls is not None, "a client"
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError:  # TLS errors are OSErrors
            # Without TLS's alert, for which gRPC's client has no words: the end of the connection it takes for a refusal.
            self.abort()
        else:
            self._flush()
            self.ready.set_result(None)
            self.hold("not joined", True)

    def _read(self) -> None:
        if self._tls is None or self._take is None:
            return
        try:
            while not self.error and (data := self._tls.read(READ_BYTES)):
                self._deliver(data)
        except ssl.SSLWantReadError:
            pass
        except OSError:  # also the regular end
            self._end()
        self._flush()

    def _deliver(self, data: bytes) -> None:
        if self._take is None or self.error:
            return
        try:
            self._take(data)
        except FrameError as error:
            self.error = str(error)
            self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._hold_all(True)

    def resume_writing(self) -> None:
        self._hold_all(False)

    def _hold_all(self, on: bool) -> None:
        if self._other is not None:
            self._other.hold("the other is full", on)
        if self._tls is not None:
            # TLS itself answers: who does not read may not ask either.
            self.hold("full", on)

    def hold(self, why: str, on: bool) -> None:
        """Stops reading, until there is no reason left."""
        if on:
            self._holds.add(why)
        else:
            self._holds.discard(why)
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if self._holds else self._transport.resume_reading)()

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write(data)
            return
        try:
            self._tls.write(data)
        except OSError:
            self._end()
        self._flush()

    def close(self) -> None:
        """Once all is written, and with TLS's own goodbye."""
        if self._transport is None:
            return
        if self._tls is not None and self.ready.done():
            with contextlib.suppress(OSError):
                self._tls.unwrap()
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._end()

    def certificate(self) -> bytes:
        return (self._tls.getpeercert(binary_form=True) if self._tls is not None else None) or b""


def _peer(address: tuple[str, int]) -> str:
    host, port = address[0].removeprefix("::ffff:"), address[1]
    return f"{'ipv6' if ':' in host else 'ipv4'}:{host_port(host, port)}"
