"""Strangers at the pairing port, over real gRPC: none gets a certificate, none stops the service, none fills the log."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.nodes.pairing import Trust, over, renew
from edgenode.errors import EdgenodeError, NetworkError, PairingError
from edgenode.net.channel import MAX_PAIRING_MESSAGE_BYTES, make_pairing_server, open_pairing_channel, pairing_address
from edgenode.net.dial_out import PAIR_METHOD
from edgenode.net.pairing_client import greet, open_window, pair
from edgenode.net.pairing_desk import ABANDONED, PairingDesk
from edgenode.net.pairing_service import GREETINGS, PAIRINGS, STREAMS_OF_ONE_HOST
from edgenode.net.pairing_wire import pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.trust import certificates
from edgenode.trust.certificates import Certificate
from edgenode.trust.frames import (
    NONCE_BYTES,
    Answer,
    Begin,
    CertificateRequest,
    Done,
    Introduction,
    IssuedCertificate,
    PairingFrame,
    Proof,
    RefusalReason,
    Refused,
    Renew,
    SecretKind,
)
from edgenode.trust.keys import PublicKey
from edgenode.trust.pairing import CoordinatorPairing, CoordinatorRenewal
from edgenode.trust.running import RunningNode
from edgenode.trust.store import NodeTrust
from edgenode.trust.window import TRIES
from edgenode.v1 import pairing_pb2, pairing_service_pb2
from tests.dial_parts import listening
from tests.logged import ours
from tests.pairing_parts import LOCAL_SECRET, SECONDS, Anna, Desk, make_desk, served
from tests.trust.people import Ca, forge
from tests.trusted import paired

SERVICE = "/edgenode.v1.PairingService/"
Call = grpc.aio.StreamStreamCall[bytes, bytes]


@asynccontextmanager
async def stranger(desk: PairingDesk, address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that sends whatever bytes it likes."""
    pinned = certificates.pem(desk.trust.placeholder)
    async with open_pairing_channel(pairing_address(address), pinned, f"{desk.trust.id}.pairing.edge") as channel:
        yield channel


def packed(frame: PairingFrame) -> bytes:
    return pairing_service_pb2.PairRequest(frame=pairing_frame_to_proto(frame)).SerializeToString()


async def say(call: Call, frame: PairingFrame) -> None:
    """What comes of it is for the node to say: gRPC's Python client takes a write for failed when the call's end crosses it."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(packed(frame))


async def received(call: Call) -> PairingFrame | None:
    """The next frame, None when the node has ended the stream."""
    async with asyncio.timeout(SECONDS):
        try:
            # And not `read`, which after a failed write gives nothing of what has come.
            data = await anext(aiter(call), None)
        except grpc.aio.AioRpcError as error:
            # What an end becomes that comes while something is written.
            if error.code() is not grpc.StatusCode.INTERNAL:
                raise
            return None
    if data is None:
        return None
    return pairing_frame_from_proto(pairing_service_pb2.PairResponse.FromString(data).frame)


async def assert_serves(node: Desk, address: str) -> None:
    """It still greets, and pairs whoever knows the secret."""
    node.clock.seconds += 3_600
    assert (await greet(address)).introduction.id == node.id
    anna = Anna("rightful")
    await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
    assert {one.name for one in node.trust.trusted()} == {"rightful"}


async def test_guessing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three wrong codes close the window; then the right code is refused as well, with the time to wait. The owner hears of it."""
    node, mallory = make_desk(tmp_path), Anna("mallory")
    code = node.window.open(node.clock())
    caplog.set_level(logging.DEBUG, "edgenode")
    wrong = [f"{(int(code) + n) % 10**8:08d}" for n in range(1, 9)]
    async with served(node.desk) as address:
        for guess in wrong[:TRIES]:
            with pytest.raises(PairingError, match="not the code of kitchen-pi"):
                await pair(address, mallory.pairing(guess))
        for guess in [code, *wrong[TRIES:]]:
            with pytest.raises(PairingError, match="too many wrong codes: wait 30 s"):
                await pair(address, mallory.pairing(guess))
        assert len(node.reports) == 2
        assert "A wrong pairing code was tried (1 from 127.0.0.1" in node.reports[0]
        assert "(3 from 127.0.0.1): the pairing window is closed. Another can be opened in 30 s." in node.reports[1]
        assert len(ours(caplog)) == 1
        assert not any(code in message for message in [*caplog.messages, *node.reports])
        assert node.trust.trusted() == ()
        await assert_serves(node, address)


async def test_guessing_in_parallel(tmp_path: Path) -> None:
    """Many exchanges begun at once get no more than the tries of one window."""
    node, mallory = make_desk(tmp_path), Anna("mallory")
    code = node.window.open(node.clock())
    wrong = [f"{(int(code) + n) % 10**8:08d}" for n in range(1, 13)]
    async with served(node.desk) as address:
        outcomes = await asyncio.gather(*(pair(address, mallory.pairing(guess)) for guess in wrong), return_exceptions=True)
    assert all(isinstance(each, EdgenodeError) for each in outcomes)
    assert sum("not the code" in str(each) for each in outcomes) <= TRIES
    assert len(node.window.failures) <= TRIES


async def test_a_certificate_by_another_authoritys_name(tmp_path: Path) -> None:
    """A paired coordinator cannot give the node a leaf that would be served to another's: it is not kept, and that one still is."""
    node, anna, bob = make_desk(tmp_path), Anna(), Ca("bob")
    stolen = x509.DNSName(certificates.node_host_name(node.id, anna.id))

    def sign(key: PublicKey) -> Certificate:
        own = x509.DNSName(certificates.node_host_name(node.id, bob.id))
        told = f"edgenode://{bob.id}/node/{node.id}"
        return forge(bob.key, bob.certificate.subject, key, (told,), names=(stolen, own))

    async with served(node.desk) as address:
        await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        with pytest.raises(PairingError, match="more than that"):
            await pair(address, CoordinatorPairing(SecretKind.LOCAL, LOCAL_SECRET, bob.certificate, sign))
    assert [one.authority for one in node.trust.trusted()] == [anna.id]


async def test_wrong_proofs_all_at_once(tmp_path: Path) -> None:
    """Of sixty exchanges that all got as far as the proof three are checked, even if nobody reads what comes of it; the right code
    comes too late among them."""
    node, mallory = make_desk(tmp_path), Anna("mallory")
    code = node.window.open(node.clock())
    wrong = [f"{(int(code) + n) % 10**8:08d}" for n in range(1, 61)]
    all_begun, all_refused = asyncio.Barrier(len(wrong) + 1), asyncio.Barrier(len(wrong) + 1)
    refusals: list[Refused] = []

    async def attempt(guess: str, who: str) -> None:
        machine, to_node = mallory.pairing(guess), asyncio.Queue[PairingFrame]()

        async def frames() -> AsyncIterator[PairingFrame]:
            yield await to_node.get()
            await all_begun.wait()
            yield await to_node.get()

        async def send(frame: PairingFrame) -> None:
            if isinstance(frame, Refused):
                refusals.append(frame)
                await all_refused.wait()
            else:
                for answer in machine.receive(frame):
                    to_node.put_nowait(answer)

        assert await node.desk.serve(frames(), send, who) is None

    await asyncio.gather(*(attempt(guess, f"10.0.0.{n}") for n, guess in enumerate([*wrong[:30], code, *wrong[30:]])))
    assert Counter(each.reason for each in refusals) == {
        RefusalReason.WRONG_SECRET: TRIES,
        RefusalReason.BACKING_OFF: len(wrong) + 1 - TRIES,
    }
    assert len(node.window.failures) == TRIES
    assert not node.window.is_open(node.clock())


async def test_beginning_without_ever_proving(tmp_path: Path) -> None:
    """Whoever begins with the code and stays silent keeps nobody out; who does it again and again is not listened to any more, and
    the owner hears of it once. Another code forgives him."""
    node = make_desk(tmp_path)
    code = node.window.open(node.clock())
    async with served(node.desk) as address:

        async def begin(channel: grpc.aio.Channel) -> tuple[Call, PairingFrame | None]:
            call: Call = channel.stream_stream(f"{SERVICE}Pair")()
            await received(call)
            for frame in MALLORYS.pairing("00000000").receive(node.desk.introduction()):
                await say(call, frame)
            return call, await received(call)

        async with stranger(node.desk, address) as channel:
            held = [await begin(channel) for _ in range(STREAMS_OF_ONE_HOST - 1)]
            assert all(isinstance(answer, Answer) for _, answer in held)
            await pair(address, Anna().pairing(code))
            assert node.reports == ["Paired with anna@laptop."]
            for call, _ in held:
                await call.done_writing()
                while await received(call) is not None:
                    pass
            code = node.desk.open_window(LOCAL_SECRET, "")[0]
            answers: list[PairingFrame | None] = []
            for _ in range(ABANDONED + 2):
                node.clock.seconds += 2.0
                call, answer = await begin(channel)
                answers.append(answer)
                await call.done_writing()
                while await received(call) is not None:
                    pass
        assert [type(each) for each in answers] == [Answer] * ABANDONED + [Refused] * 2
        assert len(node.reports) == 2
        assert f"127.0.0.1 has begun to pair {ABANDONED} times without giving a code" in node.reports[1]
        with pytest.raises(PairingError, match="run `edgenode pair` on it"):
            await pair(address, Anna().pairing(code))
        await pair(address, Anna().pairing(node.desk.open_window(LOCAL_SECRET, "")[0]))


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (SecretKind.CODE, False),
        (SecretKind.CODE, True),
        (SecretKind.LOCAL, False),
        (SecretKind.INVITE, False),
        (SecretKind.INVITE, True),
    ],
)
async def test_dropped_while_it_holds_its_certificate_back(tmp_path: Path, kind: SecretKind, before: bool) -> None:
    """A coordinator that has proved its secret and is dropped before it sends the certificate stays out, also one that had been
    dropped before and was let in again."""
    anna = Anna()
    if before:
        # Dropped when the session begins; what it has now was given afterwards.
        there = make_desk(tmp_path)
        async with served(there.desk) as address:
            await pair(address, anna.pairing(LOCAL_SECRET, SecretKind.LOCAL))
        there.trust.untrust(anna.id)
    node = make_desk(tmp_path, invite=anna.invite())
    code = node.window.open(node.clock())
    secrets = {SecretKind.CODE: code.encode(), SecretKind.LOCAL: LOCAL_SECRET, SecretKind.INVITE: anna.invite().secret}
    machine = anna.pairing(secrets[kind], kind)
    async with served(node.desk) as address, stranger(node.desk, address) as channel:
        call: Call = channel.stream_stream(f"{SERVICE}Pair")()
        sent: tuple[PairingFrame, ...] = ()
        while not any(isinstance(frame, IssuedCertificate) for frame in sent):
            for frame in sent:
                await say(call, frame)
            came = await received(call)
            assert came is not None
            sent = machine.receive(came)
        leaf = anna.sign(node.trust.key.public_key())
        node.trust.trust(anna.certificate, leaf, "code", node.trust.removal(anna.id))
        # By another process.
        NodeTrust(tmp_path).untrust(anna.id)
        for frame in sent:
            await say(call, frame)
        assert isinstance(await received(call), Refused)
        assert node.trust.trusted() == ()
        assert node.trust.is_removed(anna.id)
        assert not any("Paired" in each for each in node.reports)
        # What is typed after that counts.
        node.desk.window.close()
        await pair(address, anna.pairing(node.window.open(node.clock())))
    assert [one.via for one in node.trust.trusted()] == ["code"]


async def test_a_code_used_by_two_at_once(tmp_path: Path) -> None:
    """However many know the code, one is paired."""
    node = make_desk(tmp_path)
    code = node.window.open(node.clock())
    async with served(node.desk) as address:
        outcomes = await asyncio.gather(*(pair(address, Anna().pairing(code)) for _ in range(4)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in outcomes) == 1
    assert len(node.trust.trusted()) == 1


class Mallory:
    """Stands in between: a pairing port of her own that passes frames on to the node's, and changes what she likes."""

    def __init__(self, home: Path, victim: Desk, address: str, change: Callable[[PairingFrame], PairingFrame]) -> None:
        home.mkdir(mode=0o700)
        self.trust = NodeTrust(home)
        self.passed: list[PairingFrame] = []
        self._victim = victim
        self._address = address
        self._change = change

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        tls = make_pairing_server(self.trust.placeholder_tls())
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Pair": grpc.stream_stream_rpc_method_handler(self._pair)}
        tls.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("edgenode.v1.PairingService", handlers),))
        port = tls.listen("127.0.0.1:0")
        await tls.start()
        try:
            yield f"127.0.0.1:{port - 1}"
        finally:
            await tls.stop(grace=None)

    async def _pair(self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async with stranger(self._victim.desk, self._address) as channel:
            call: Call = channel.stream_stream(f"{SERVICE}Pair")()
            while (frame := await received(call)) is not None:
                changed = self._seen(frame)
                message = pairing_service_pb2.PairResponse(frame=pairing_frame_to_proto(changed))
                await context.write(message.SerializeToString())
                data = await anext(requests, None)
                if data is None:
                    break
                frame = pairing_frame_from_proto(pairing_service_pb2.PairRequest.FromString(data).frame)
                await say(call, self._seen(frame))

    def _seen(self, frame: PairingFrame) -> PairingFrame:
        # Without her own id here she would be noticed at once: the key that answers is hers.
        changed = replace(frame, id=self.trust.id) if isinstance(frame, Introduction) else self._change(frame)
        self.passed.append(changed)
        return changed


MALLORYS = Anna("anna@laptop")


def swap_request(frame: PairingFrame) -> PairingFrame:
    if isinstance(frame, CertificateRequest):
        return replace(frame, request=certificates.make_request(ec.generate_private_key(ec.SECP256R1())))
    return frame


def swap_authority(frame: PairingFrame) -> PairingFrame:
    return replace(frame, authority=certificates.der(MALLORYS.certificate)) if isinstance(frame, Begin) else frame


def swap_leaf(frame: PairingFrame) -> PairingFrame:
    leaf = certificates.der(MALLORYS.leaf(certificates.Role.NODE))
    return replace(frame, certificate=leaf) if isinstance(frame, IssuedCertificate) else frame


@pytest.mark.parametrize("change", [lambda frame: frame, swap_request, swap_authority, swap_leaf])
async def test_somebody_in_between(tmp_path: Path, change: Callable[[PairingFrame], PairingFrame]) -> None:
    """Whoever relays a pairing in which the right code is typed ends it, whatever she changes; one try is gone. What she swaps
    later than the exchange is tried in tests/trust, where nothing gives her away before."""
    node, anna = make_desk(tmp_path / "node"), Anna()
    code = node.window.open(node.clock())
    async with served(node.desk) as address:
        mallory = Mallory(tmp_path / "mallory", node, address, change)
        async with mallory.listening() as between:
            with pytest.raises(PairingError, match="not the code of kitchen-pi, or somebody stands in between"):
                await pair(between, anna.pairing(code))
            assert not any(isinstance(frame, CertificateRequest | IssuedCertificate) for frame in mallory.passed)
            with pytest.raises(NetworkError, match="Another device answers"):
                await pair(between, anna.pairing(code), node.id)
        assert len(node.window.failures) == 1
        assert node.trust.trusted() == ()
        await assert_serves(node, address)


async def test_somebody_in_between_with_two_sessions(tmp_path: Path) -> None:
    """A device of hers towards the coordinator and a coordinator of hers towards the device: each costs her a guess, and neither
    session tells her the code for the other."""
    node, anna = make_desk(tmp_path / "node"), Anna()
    hers = make_desk(tmp_path / "hers")
    code = node.window.open(node.clock())
    hers.window.open(hers.clock())
    async with served(node.desk) as address, served(hers.desk) as between:
        with pytest.raises(PairingError, match="not the code"):
            await pair(between, anna.pairing(code))
        guess = hers.window.code
        assert guess is not None
        with pytest.raises(PairingError, match="not the code"):
            await pair(address, MALLORYS.pairing(guess))
    assert node.trust.trusted() == hers.trust.trusted() == ()


async def test_replay(tmp_path: Path) -> None:
    """All that a coordinator sent in a pairing that went well, sent again byte by byte, brings nothing, whatever the secret is."""
    node, anna = make_desk(tmp_path), Anna()
    recorded: list[PairingFrame] = []
    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:
            machine = anna.pairing(LOCAL_SECRET, SecretKind.LOCAL)
            call: Call = channel.stream_stream(f"{SERVICE}Pair")()
            while not machine.finished:
                frame = await received(call)
                assert frame is not None
                for answer in machine.receive(frame):
                    recorded.append(answer)
                    await say(call, answer)
            assert len(recorded) == 3
            (record,) = (tmp_path / "trusted").glob("*.json")
            record.unlink()
            again: Call = channel.stream_stream(f"{SERVICE}Pair")()
            answers = []
            for frame in recorded:
                answers.append(await received(again))
                if not isinstance(answers[-1], Introduction | Answer):
                    break
                await say(again, frame)
            assert [type(each) for each in answers] == [Introduction, Answer, Refused]
            assert isinstance(answers[-1], Refused)
            assert answers[-1].reason is RefusalReason.WRONG_SECRET
        assert node.trust.trusted() == ()
        await assert_serves(node, address)


async def test_a_request_for_renewal_replayed_to_the_coordinator(tmp_path: Path) -> None:
    """What a stranger gets out of a node by asking it to renew, and sends to its coordinator in its name, is signed for another
    question: the coordinator signs nothing and remembers no renewal."""
    async with listening(tmp_path / "coordinator") as there:
        trust = there.trust
        trusted = paired(tmp_path / "node", trust.authority, trust.paired)
        node = make_desk(tmp_path / "node")
        before = trust.paired.get(trusted.id)
        async with served(node.desk) as address, stranger(node.desk, address) as channel:
            call: Call = channel.stream_stream(f"{SERVICE}Pair")()
            introduction = await received(call)
            await say(call, Renew(trust.authority.id, bytes(NONCE_BYTES)))
            request = await received(call)
        assert isinstance(request, CertificateRequest)
        async with pinned_channel(there.address, None) as (channel, _):
            dialled: Call = channel.stream_stream(PAIR_METHOD)()

            async def tell(frame: PairingFrame | None) -> None:
                assert frame is not None
                message = pairing_service_pb2.PairDialInRequest(frame=pairing_frame_to_proto(frame))
                await dialled.write(message.SerializeToString())

            await tell(introduction)
            renewal = asyncio.create_task(renew(trust, (await there.device()).run, trusted.id))
            assert await dialled.read()  # the coordinator's question
            await tell(request)
            with pytest.raises(PairingError, match="did not prove now"):
                await renewal
        assert trust.paired.get(trusted.id) == before


async def test_a_device_unpaired_during_its_renewal(tmp_path: Path) -> None:
    """Between the question and the signature it was unpaired: it gets no certificate."""
    trust = Trust.load(tmp_path / "coordinator")
    paired(tmp_path / "node", trust.authority, trust.paired)
    node = make_desk(tmp_path / "node")

    async with served(node.desk) as address:

        async def way(machine: CoordinatorPairing | CoordinatorRenewal) -> None:
            trust.paired.remove(node.id)
            await over(address, node.id)(machine)

        with pytest.raises(PairingError, match="was unpaired"):
            await renew(trust, way, node.id)
    kept = trust.paired.get(node.id)
    assert kept is not None
    assert kept.removed is not None


async def test_frames_out_of_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Proof, request, certificate or done first: refused as senseless, and logged once for each kind."""
    node = make_desk(tmp_path)
    node.window.open(node.clock())
    caplog.set_level(logging.DEBUG, "edgenode")
    proof = bytes(32)
    firsts = [
        Proof(proof),
        Done(),
        Answer(b"B" + proof),
        CertificateRequest(certificates.make_request(ec.generate_private_key(ec.SECP256R1())), proof),
        IssuedCertificate(certificates.der(Anna().leaf(certificates.Role.NODE)), proof),
        node.desk.introduction(),
    ]
    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:
            for frame in firsts * 3:
                call: Call = channel.stream_stream(f"{SERVICE}Pair")()
                await say(call, frame)
                assert isinstance(await received(call), Introduction)
                refusal = await received(call)
                assert isinstance(refusal, Refused)
                assert refusal.reason is RefusalReason.INVALID
                assert await received(call) is None
        assert node.window.failures == ()
        assert len(ours(caplog)) == len(firsts)
        await assert_serves(node, address)


async def test_oversized_messages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """More than the port takes ends the call; a certificate of more than a certificate has is refused."""
    node = make_desk(tmp_path)
    caplog.set_level(logging.DEBUG)
    big, large = bytes(MAX_PAIRING_MESSAGE_BYTES * 16), bytes(certificates.MAX_CERTIFICATE_BYTES + 1)
    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:
            for method in ("Greet", "OpenWindow"):
                with pytest.raises(grpc.aio.AioRpcError):
                    await asyncio.wait_for(channel.unary_unary(SERVICE + method)(big), SECONDS)
            request = pairing_service_pb2.GreetRequest(certificate=large).SerializeToString()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(f"{SERVICE}Greet")(request)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            call: Call = channel.stream_stream(f"{SERVICE}Pair")()
            await say(call, Begin(SecretKind.LOCAL, large, b"A" + bytes(32)))
            assert isinstance(await received(call), Introduction)
            assert isinstance(await received(call), Refused)
        assert "Traceback" not in caplog.text
        await assert_serves(node, address)


async def test_endless_messages(tmp_path: Path) -> None:
    """A stream of frames without end is over after the first that has no turn, however many follow."""
    node = make_desk(tmp_path)
    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:

            async def endless() -> AsyncIterator[bytes]:
                while True:
                    yield packed(Done())

            call: Call = channel.stream_stream(f"{SERVICE}Pair")(endless())
            frames: list[PairingFrame] = []
            with contextlib.suppress(grpc.aio.AioRpcError):  # it is hung up on while it still sends
                while (frame := await received(call)) is not None:
                    frames.append(frame)
            assert call.done()
        assert [type(frame) for frame in frames] in ([], [Introduction], [Introduction, Refused])
        await assert_serves(node, address)


async def test_a_stream_that_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Silence at the beginning and silence in the middle both end at a deadline, and neither keeps others from the code."""
    # Long enough for a busy machine to say what is not to be the silence.
    node = make_desk(tmp_path, patience=6.0, seconds=6.0)
    code = node.window.open(node.clock())
    caplog.set_level(logging.DEBUG, "edgenode")

    async def falls_silent(channel: grpc.aio.Channel, begins: bool) -> None:
        call: Call = channel.stream_stream(f"{SERVICE}Pair")()
        assert isinstance(await received(call), Introduction)
        if begins:
            for frame in MALLORYS.pairing("00000000").receive(node.desk.introduction()):
                await say(call, frame)
            assert isinstance(await received(call), Answer)
        refusal = await received(call)
        assert isinstance(refusal, Refused)
        assert "silent" in refusal.message

    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:
            await asyncio.gather(*(falls_silent(channel, begins) for begins in (False, True, False)))
        assert node.window.failures == ()
        assert len(ours(caplog)) == 1
    patient = PairingDesk(node.trust, node.window, node.desk._describe, LOCAL_SECRET, node.reports.append, clock=node.clock)
    async with served(patient) as address:
        await pair(address, Anna().pairing(code))


async def test_a_hundred_streams_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Few are listened to, the others are told that the node is busy; the log has a line or two."""
    node = make_desk(tmp_path)
    refused = asyncio.Event()
    caplog.set_level(logging.DEBUG, "edgenode")

    async def hang(channel: grpc.aio.Channel) -> str:
        call: Call = channel.stream_stream(f"{SERVICE}Pair")()
        try:
            first = await received(call)
            if isinstance(first, Refused):
                refused.set()
                return first.reason.name
            assert isinstance(first, Introduction)
            # Until there is no room for another.
            await refused.wait()
            await call.done_writing()
            while await received(call) is not None:
                pass
        except grpc.aio.AioRpcError as error:  # more streams on one connection than it may have
            return error.code().name
        return "heard"

    async with served(node.desk) as address:
        async with stranger(node.desk, address) as one, stranger(node.desk, address) as other:
            ends = await asyncio.gather(*(hang(channel) for channel in (one, other) for _ in range(50)))
        assert STREAMS_OF_ONE_HOST <= ends.count("heard") <= PAIRINGS[0]
        assert "BUSY" in ends
        assert set(ends) <= {"heard", "BUSY", "UNAVAILABLE"}
        assert len(ours(caplog)) <= 3
        await assert_serves(node, address)


async def test_greeting_without_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its rate a host is refused, and the log says so once."""
    node = make_desk(tmp_path)
    caplog.set_level(logging.DEBUG, "edgenode")
    leaf = certificates.der(MALLORYS.leaf())
    async with served(node.desk) as address:
        async with stranger(node.desk, address) as channel:
            greeting = channel.unary_unary(f"{SERVICE}Greet")
            request = pairing_service_pb2.GreetRequest(certificate=leaf).SerializeToString()
            codes: Counter[grpc.StatusCode] = Counter()
            for _ in range(100):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await (call := greeting(request))
                codes[await call.code()] += 1
        assert codes == {grpc.StatusCode.OK: GREETINGS[0], grpc.StatusCode.RESOURCE_EXHAUSTED: 100 - GREETINGS[0]}
        assert len(ours(caplog)) == 2
        await assert_serves(node, address)


async def test_opening_the_window_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the secret of the running file nobody opens it, and the log says so once."""
    node = make_desk(tmp_path)
    caplog.set_level(logging.DEBUG, "edgenode")
    async with served(node.desk) as address:
        for secret in (b"", b"L", b"M" * 32, LOCAL_SECRET[:-1], LOCAL_SECRET + b"L"):
            with pytest.raises(PairingError, match="Only the user who runs this node"):
                await open_window(RunningNode(node.id, "kitchen-pi", address, secret, 1))
        assert not node.window.is_open(node.clock())
        assert len(ours(caplog)) == 1
        await assert_serves(node, address)


async def test_an_impostor_at_a_known_address(tmp_path: Path) -> None:
    """A device that claims a known node's id cannot show its key; one that claims it over its own key is noticed as well."""
    node, impostor = make_desk(tmp_path / "node"), make_desk(tmp_path / "impostor")
    claims = impostor.desk.introduction()
    impostor.desk.introduction = lambda: replace(claims, id=node.id)  # type: ignore[method-assign]
    running = RunningNode(node.id, "kitchen-pi", "", LOCAL_SECRET, 1)
    async with served(impostor.desk) as address:
        for attempt in (
            greet(address, expect=node.id),
            pair(address, Anna().pairing("12345678"), node.id),
            open_window(replace(running, address=address)),
        ):
            with pytest.raises(NetworkError, match="Another device answers"):
                await attempt
        for attempt in (greet(address), pair(address, Anna().pairing("12345678"))):
            with pytest.raises(NetworkError, match="another than its key"):
                await attempt
    assert impostor.trust.trusted() == ()


def mutated(data: bytes, at: int, value: int) -> bytes:
    return data[: at % len(data)] + bytes([value]) + data[at % len(data) + 1 :]


SEEDS = [
    packed(Begin(SecretKind.LOCAL, certificates.der(MALLORYS.certificate), b"A" + bytes(32))),
    packed(Begin(SecretKind.CODE, certificates.der(MALLORYS.certificate), b"A" + bytes(31) + b"\x05")),
    packed(Refused(RefusalReason.BUSY, "\x1b[2Jno", 1e300)),
    pairing_service_pb2.PairRequest(
        frame=pairing_pb2.PairingFrame(begin=pairing_pb2.PairingBegin(secret=99, authority=b"x", pake=b"y"))  # type: ignore[arg-type]
    ).SerializeToString(),
    pairing_service_pb2.GreetRequest(certificate=certificates.der(MALLORYS.leaf())).SerializeToString(),
    pairing_service_pb2.OpenWindowRequest(secret=b"x").SerializeToString(),
]
garbage = st.one_of(
    st.binary(max_size=300),
    st.builds(mutated, st.sampled_from(SEEDS), st.integers(0, 2_000), st.integers(0, 255)),
)


ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def test_bytes_of_every_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever bytes come to whatever method: an answer or a refusal, no traceback, no trust, a bounded log, and it goes on."""
    node = make_desk(tmp_path)
    node.window.open(node.clock())
    caplog.set_level(logging.INFO)

    async def send(channel: grpc.aio.Channel, data: bytes) -> None:
        node.clock.seconds += 1.0
        for method in ("Greet", "OpenWindow"):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await (unary := channel.unary_unary(SERVICE + method)(data, timeout=SECONDS))
            assert await unary.code() in ANSWERS
        # An iterator and not writes: these may cross the refusal, and then what came before it would not be read.
        call: Call = channel.stream_stream(f"{SERVICE}Pair")([data])
        frame: PairingFrame | None = None
        with contextlib.suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(SECONDS):
                async for answer in call:
                    frame = pairing_frame_from_proto(pairing_service_pb2.PairResponse.FromString(answer).frame)
        assert isinstance(frame, Introduction | Refused | Answer)

    with asyncio.Runner() as runner:
        serving = served(node.desk)
        address = runner.run(serving.__aenter__())
        visiting = stranger(node.desk, address)
        channel = runner.run(visiting.__aenter__())

        @settings(max_examples=60, deadline=None)
        @given(garbage)
        def attack(data: bytes) -> None:
            runner.run(send(channel, data))

        attack()
        runner.run(visiting.__aexit__(None, None, None))
        assert node.trust.trusted() == ()
        assert len(ours(caplog)) < 64
        assert "Traceback" not in caplog.text
        runner.run(assert_serves(node, address))
        runner.run(serving.__aexit__(None, None, None))
