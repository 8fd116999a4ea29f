"""Other keys for a repository: gateway key, certificate with its private key, master key.

What is to come is stored in the vault first, so each step may be repeated from any point with the same result, and
whoever is killed between two is followed by another. A rotation has an id: asked for again with the same, a finished
one is not begun anew. Clients find a manifest, a whitelist and a public key that fit at any moment:

* *certificate*: the whitelist lists the new one; some time later, when no proxy has the old whitelist any more, the
  manifest is signed with it; the old one stays listed for a while, for mirrors that are behind.
* *master key*: a whitelist has one signature only, so the new public key is announced first, and everybody who mounts
  the repository takes it besides the old one; the switch is asked for when that is done.
* *gateway key*: publishers with the former one are told so, and fetch the new one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from softman.adapters.ports import Registry
from softman.cvmfs.format.keys import generate_gateway_key, generate_master_key, renew_signing_key
from softman.cvmfs.rotation import switch_signing_key
from softman.errors import InvalidInput, PermanentError, SoftmanError
from softman.names import RepositoryName
from softman.services.material import KeyMaterial, Master, MasterKind, Material, Values
from softman.services.translate import cvmfs_errors
from softman.services.whitelists import OpenRepository, Whitelists


class Rotatable(StrEnum):
    """What can be replaced."""

    GATEWAY_KEY = "gateway-key"
    CERTIFICATE = "certificate"
    MASTER_KEY = "master-key"


@dataclass(frozen=True, slots=True)
class Rotated:
    """How far a rotation came: in words, and the seconds after which it is to be asked for again, if at all."""

    message: str
    again_in: float | None = None


@dataclass(frozen=True, slots=True)
class RotationTimes:
    """How long things stay beside each other.

    Attributes:
        lead: between allowing a key and using it.
        grace: between using a key and no longer allowing the one before.
    """

    lead: timedelta
    grace: timedelta


class Rotations:
    """Replaces keys.

    Args:
        material: the keys.
        whitelists: signs whitelists.
        registry: which repositories there are.
        open_repository: the storage of a repository, with the keys to sign with.
        hand_over: writes a repository's keys into its owner's part of the vault.
        times: how long things stay beside each other.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        material: KeyMaterial,
        whitelists: Whitelists,
        registry: Registry,
        open_repository: OpenRepository,
        *,
        hand_over: Callable[[Material], None],
        times: RotationTimes,
        clock: Callable[[], datetime],
    ) -> None:
        self._material = material
        self._whitelists = whitelists
        self._registry = registry
        self._open = open_repository
        self._hand_over = hand_over
        self._times = times
        self._clock = clock

    def gateway_key(self, name: RepositoryName, rotation: str) -> Rotated:
        """Replace the gateway key.

        Args:
            name: the repository.
            rotation: the id of this rotation.
        """
        fresh = generate_gateway_key().to_text()

        def change(values: Values) -> Values:
            if values.get("gatewayRotation") == rotation:
                return values
            former = {"formerGatewayKey": values["gatewayKey"]}
            return values | former | {"gatewayKey": fresh, "gatewayRotation": rotation}

        material = self._material.change(name, change)
        self._hand_over(material)
        return Rotated(f"{name} has a new gateway key, and publishers take it by themselves")

    def certificate(self, name: RepositoryName, rotation: str, *, revoke: bool = False) -> Rotated:
        """Replace the private key that signs the repository, with its certificate.

        Args:
            name: the repository.
            rotation: the id of this rotation. One that is under way is gone on with, whatever its id.
            revoke: no longer allow the old certificate as soon as the new one is used.

        Raises:
            PermanentError: the master key is offline, and the whitelist in force does not list what it must.
        """
        material = self._material.get(name, fresh=True)
        if material.next_keys is None and material.values.get("certificateRotation") == rotation:
            return self._end_certificate(material)
        with cvmfs_errors(f"replacing the certificate of {name}"):
            if material.next_keys is None:
                material = self._begin_certificate(material)
            self._whitelists.ensure(material)
            following, found = material.next_keys, self._whitelists.verified(material)
            if following is None or found is None or not found.whitelist.lists(following.certificate):
                raise PermanentError(self._whitelists.elsewhere(name))
            wait = self._wait(found.whitelist.created)
            if wait > 0:
                return Rotated(f"the new certificate of {name} is allowed, and signs in {wait:.0f} s", wait)
            head = self._open(name, replace(material.keys, public_key=found.public_key)).head
            switch_signing_key(head, replace(following, public_key=found.public_key))
        until = self._clock() + (timedelta() if revoke else self._times.grace)
        promoted = self._material.change(name, lambda values: _promoted(values, rotation, until), forget=True)
        return self._end_certificate(promoted)

    def master_key(self, name: RepositoryName, rotation: str, *, switch: bool = False) -> Rotated:
        """Announce another master key, or sign with the one that was announced; for all repositories that share it.

        Args:
            name: the repository, or one of those that share the master key.
            rotation: the id of this rotation.
            switch: sign with it.

        Raises:
            InvalidInput: the master key is offline; or none was announced that could be switched to.
        """
        material = self._material.get(name, fresh=True)
        if material.kind is MasterKind.OFFLINE:
            msg = f"the master key of {name} is offline: see docs/keys.md for the order of steps"
            raise InvalidInput(msg)
        with cvmfs_errors(f"replacing the master key of {name}"):
            master = self._material.master(material)
            if not switch:
                self._announce(material, rotation)
                self._each(material, self._hand_over)
                return Rotated(f"another master key is announced for {self._whose(material)}: give its public key out")
            if master.values.get("switched") != rotation:
                wait = self._wait(self._announced(name, master))
                if wait > 0:
                    return Rotated(f"the new master key of {self._whose(material)} signs in {wait:.0f} s", wait)
                self._switch(material, rotation)
            self._each(material, self._hand_over)
        return Rotated(f"whitelists of {self._whose(material)} are signed with the new master key")

    def _begin_certificate(self, material: Material) -> Material:
        fresh = renew_signing_key(str(material.name), material.keys, self._clock())
        private, certificate = fresh.private_key.decode(), fresh.certificate.decode()

        def change(values: Values) -> Values:
            if "nextPrivateKey" in values:
                return values
            return values | {"nextPrivateKey": private, "nextCertificate": certificate}

        return self._material.change(material.name, change)

    def _end_certificate(self, material: Material) -> Rotated:
        with cvmfs_errors(f"the whitelist of {material.name}"):
            self._whitelists.ensure(material)
        self._hand_over(material)
        until = material.former_until
        allowed = (
            "" if until is None or until <= self._clock() else f"; the old one stays allowed until {until:%F %H:%M} UTC"
        )
        return Rotated(f"{material.name} is signed with a new key and certificate{allowed}")

    def _announce(self, material: Material, rotation: str) -> None:
        private, public = (key.decode() for key in generate_master_key())
        since = str(self._clock().timestamp())

        def change(values: Values) -> Values:
            if "nextMasterKey" in values or values.get("announced") == rotation:
                return values
            following = {"nextMasterKey": private, "nextPublicKey": public, "nextSince": since}
            return values | following | {"announced": rotation}

        self._material.change_master(material, change)

    def _announced(self, name: RepositoryName, master: Master) -> datetime:
        if master.next_since is None:
            msg = f"no other master key is announced for {name}: softman rotate master-key {name}"
            raise InvalidInput(msg)
        return master.next_since

    def _switch(self, material: Material, rotation: str) -> None:
        master = self._material.change_master(material, lambda values: values | {"switching": rotation})
        public_key = master.signing[0]

        def sign(each: Material) -> None:
            self._whitelists.ensure(each)
            self._material.follow(each, public_key)

        self._each(material, sign)
        self._material.change_master(material, lambda values: _switched(values, rotation), forget=True)

    def _each(self, material: Material, action: Callable[[Material], object]) -> None:
        """Do something for every repository that shares a master key; the first error is raised after the last."""
        failed: SoftmanError | None = None
        for name in self._sharing(material):
            try:
                found = self._material.find(name, fresh=True)
                if found is not None and found.kind is material.kind:
                    with cvmfs_errors(f"the keys of {name}"):
                        action(found)
            except SoftmanError as exc:
                failed = failed or exc
        if failed is not None:
            raise failed

    def _sharing(self, material: Material) -> list[RepositoryName]:
        if material.kind is MasterKind.DOMAIN:
            return [name for name in self._registry.names() if name.domain == material.name.domain]
        return [material.name]

    def _whose(self, material: Material) -> str:
        return f"the domain {material.name.domain}" if material.kind is MasterKind.DOMAIN else str(material.name)

    def _wait(self, since: datetime) -> float:
        return (since + self._times.lead - self._clock()).total_seconds()


def _promoted(values: Values, rotation: str, until: datetime) -> Values:
    if "nextPrivateKey" not in values:
        return values
    kept = {name: value for name, value in values.items() if name not in {"nextPrivateKey", "nextCertificate"}}
    return kept | {
        "privateKey": values["nextPrivateKey"],
        "certificate": values["nextCertificate"],
        "formerCertificate": values["certificate"],
        "formerUntil": str(until.timestamp()),
        "certificateRotation": rotation,
    }


def _switched(values: Values, rotation: str) -> Values:
    if "nextMasterKey" not in values:
        return values
    return {
        "masterKey": values["nextMasterKey"],
        "publicKey": values["nextPublicKey"],
        "announced": values.get("announced", ""),
        "switched": rotation,
    }
