"""Renewals through somebody in between, over real TLS: nobody but the node says that its certificate came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from coordinator.nodes.pairing import Trust, pair, pair_invited, renew
from coordinator.trust.paired import PairedNode
from edgenode.errors import NetworkError, PairingError
from edgenode.net.dial_out import PAIR_METHOD
from edgenode.net.pairing_wire import pairing_frame_from_proto, pairing_frame_to_proto
from edgenode.net.pinned import pinned_channel
from edgenode.trust.certificates import der, now_utc
from edgenode.trust.frames import CertificateRequest, Done, IssuedCertificate, PairingFrame, SecretKind
from edgenode.trust.keys import make_key, sign
from edgenode.types import NodeId
from edgenode.v1 import pairing_service_pb2
from tests.dial_parts import Listening, listening
from tests.pairing_parts import LOCAL_SECRET, Desk, make_desk, served
from tests.trusted import paired

Call = grpc.aio.StreamStreamCall[bytes, bytes]


@dataclass
class Between:
    """Somebody who dials a node and, in its name, its coordinator."""

    to_node: Call
    to_coordinator: Call

    async def of_node(self) -> PairingFrame:
        return pairing_frame_from_proto(pairing_service_pb2.PairResponse.FromString(await read(self.to_node)).frame)

    async def of_coordinator(self) -> PairingFrame:
        return pairing_frame_from_proto(pairing_service_pb2.PairDialInResponse.FromString(await read(self.to_coordinator)).frame)

    async def tell_node(self, frame: PairingFrame) -> None:
        message = pairing_service_pb2.PairRequest(frame=pairing_frame_to_proto(frame))
        await self.to_node.write(message.SerializeToString())

    async def tell_coordinator(self, frame: PairingFrame) -> None:
        message = pairing_service_pb2.PairDialInRequest(frame=pairing_frame_to_proto(frame))
        await self.to_coordinator.write(message.SerializeToString())

    async def relay_until_issued(self) -> IssuedCertificate:
        """Both hear each other, up to the certificate, which the node does not get."""
        while True:
            frame = await self.of_coordinator()
            if isinstance(frame, IssuedCertificate):
                return frame
            await self.tell_node(frame)
            answer = await self.of_node()
            await self.tell_coordinator(answer)


async def read(call: Call) -> bytes:
    async with asyncio.timeout(30):
        data = await call.read()
    assert isinstance(data, bytes)
    return data


@asynccontextmanager
async def between(node: str, there: Listening) -> AsyncIterator[Between]:
    """Has told the coordinator the node's introduction."""
    async with pinned_channel(node, None) as (channel, _), pinned_channel(there.address, None) as (other, _):
        us = Between(channel.stream_stream("/edgenode.v1.PairingService/Pair")(), other.stream_stream(PAIR_METHOD)())
        await us.tell_coordinator(await us.of_node())
        yield us


def paired_long_ago(folder: Path, trust: Trust, days: int = 10) -> Desk:
    """A node whose certificate is so old, so that each later one ends later."""
    kept = paired(folder, trust.authority)
    leaf = trust.authority.sign_node(kept.key.public_key(), now_utc() - timedelta(days=days))
    kept.trust(trust.authority.certificate, leaf, "code")
    trust.paired.add(PairedNode(kept.id, "kitchen-pi", now_utc(), "code", leaf.not_valid_after_utc))
    return make_desk(folder)


def end_known(trust: Trust, node: NodeId) -> object:
    kept = trust.paired.get(node)
    assert kept is not None
    return kept.certificate_ends


def end_held(node: Desk) -> object:
    return node.trust.trusted()[0].leaf.not_valid_after_utc


@pytest.mark.parametrize("how", ["unsigned", "by another key", "for the request"])
async def test_who_keeps_a_certificate_cannot_say_that_it_came(tmp_path: Path, how: str) -> None:
    """The coordinator goes by what it knew, and so renews at once when the two meet again."""
    async with listening(tmp_path / "anna") as there:
        trust = there.trust
        node = paired_long_ago(tmp_path / "node", trust)
        known, held = end_known(trust, node.id), end_held(node)
        async with served(node.desk) as address:
            async with between(address, there) as us:
                renewal = asyncio.create_task(renew(trust, (await there.device()).run, node.id))
                await us.tell_node(await us.of_coordinator())
                request = await us.of_node()
                assert isinstance(request, CertificateRequest)
                await us.tell_coordinator(request)
                assert isinstance(await us.of_coordinator(), IssuedCertificate)
                forged = {"unsigned": b"", "by another key": sign(make_key(), b"done"), "for the request": request.signature}
                await us.tell_coordinator(Done(forged[how]))
                with pytest.raises(PairingError, match="did not prove that its certificate came"):
                    await renewal
            assert (end_known(trust, node.id), end_held(node)) == (known, held)
            async with between(address, there) as us:
                renewal = asyncio.create_task(renew(trust, (await there.device()).run, node.id))
                await us.tell_node(await us.relay_until_issued())
                await us.tell_coordinator(await us.of_node())
                await renewal
        assert end_known(trust, node.id) == end_held(node) != held


async def test_an_earlier_certificate_is_not_taken_for_the_one_given(tmp_path: Path) -> None:
    """Given to the node in place of the new one, it is what the node says that it has, and not what the coordinator hears."""
    async with listening(tmp_path / "anna") as there:
        trust = there.trust
        node = paired_long_ago(tmp_path / "node", trust)
        known = end_known(trust, node.id)
        earlier = trust.authority.sign_node(node.trust.key.public_key(), now_utc() - timedelta(days=5))
        async with served(node.desk) as address, between(address, there) as us:
            renewal = asyncio.create_task(renew(trust, (await there.device()).run, node.id))
            await us.relay_until_issued()
            await us.tell_node(IssuedCertificate(der(earlier)))
            done = await us.of_node()
            assert isinstance(done, Done)
            await us.tell_coordinator(done)
            with pytest.raises(PairingError, match="did not prove that its certificate came"):
                await renewal
        assert node.trust.trusted()[0].leaf == earlier
        assert end_known(trust, node.id) == known


async def test_a_renewal_of_which_nobody_says_that_it_is_done_is_done_again(tmp_path: Path) -> None:
    """The node has its certificate, the coordinator does not know it: the next renewal brings them together."""
    async with listening(tmp_path / "anna") as there:
        trust = there.trust
        node = paired_long_ago(tmp_path / "node", trust)
        known, held = end_known(trust, node.id), end_held(node)
        async with served(node.desk) as address:
            async with between(address, there) as us:
                renewal = asyncio.create_task(renew(trust, (await there.device()).run, node.id))
                await us.tell_node(await us.relay_until_issued())
                assert isinstance(await us.of_node(), Done)
            with pytest.raises((PairingError, NetworkError)):
                await renewal
            assert end_known(trust, node.id) == known
            assert end_held(node) != held
            async with between(address, there) as us:
                renewal = asyncio.create_task(renew(trust, (await there.device()).run, node.id))
                await us.tell_node(await us.relay_until_issued())
                await us.tell_coordinator(await us.of_node())
                await renewal
        assert end_known(trust, node.id) == end_held(node)


async def test_who_keeps_the_certificate_of_a_pairing_does_not_use_the_invitation_up(tmp_path: Path) -> None:
    """It stays for the device that was invited, which then pairs by it."""
    async with listening(tmp_path / "anna") as there:
        trust = there.trust
        invite = trust.invites.make()
        node = make_desk(tmp_path / "node", invite=invite)
        async with served(node.desk) as address:
            async with between(address, there) as us:
                way = (await there.device()).run
                pairing = asyncio.create_task(pair_invited(trust, [(way, "")], [invite], node.id))
                await us.relay_until_issued()
                await us.tell_coordinator(Done())
                with pytest.raises(PairingError, match="did not prove that its certificate came"):
                    await pairing
            (left,) = trust.invites.outstanding(now_utc())
            assert left.taken_by == node.id
            async with between(address, there) as us:
                way = (await there.device()).run
                pairing = asyncio.create_task(pair_invited(trust, [(way, "")], [left], node.id))
                await us.tell_node(await us.relay_until_issued())
                await us.tell_coordinator(await us.of_node())
                await pairing
        assert trust.invites.outstanding(now_utc()) == ()
        assert node.trust.trusted()[0].authority == trust.authority.id


async def test_a_relay_that_changes_nothing_pairs_the_two(tmp_path: Path) -> None:
    """What the node signs at the end is what the coordinator expects, by a secret as well."""
    async with listening(tmp_path / "anna") as there:
        trust = there.trust
        node = make_desk(tmp_path / "node")
        async with served(node.desk) as address, between(address, there) as us:
            pairing = asyncio.create_task(pair(trust, (await there.device()).run, SecretKind.LOCAL, LOCAL_SECRET, node.id))
            await us.tell_node(await us.relay_until_issued())
            await us.tell_coordinator(await us.of_node())
            assert (await pairing).certificate_ends == end_held(node)
