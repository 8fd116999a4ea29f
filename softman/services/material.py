"""The keys of repositories as stratum 0 holds them: which parts there are, where they come from, what a rotation adds.

A repository's own part holds its signing key with the certificate and its gateway key; while a rotation goes on, also
those before or after. The master key lies apart, since it is needed only when a whitelist is signed: with the
repository, once for the domain, or nowhere within softman (offline). Which of the three is decided when the keys are
made, and noted with them.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from softman.adapters.ports import Change, KeyVault
from softman.cvmfs.format.keys import (
    GatewayKey,
    RepositoryKeys,
    generate_gateway_key,
    generate_keys,
    generate_master_key,
)
from softman.errors import Conflict, Corrupt, InvalidInput, NotFound
from softman.names import RepositoryName

Values = dict[str, str]
_DROPPED = "dropped"
"""Stands in place of keys that are gone for good."""
_NEEDED = ("publicKey", "privateKey", "certificate", "gatewayKey")


class MasterKind(StrEnum):
    """Where the master key of a repository is."""

    REPOSITORY = "repository"
    DOMAIN = "domain"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Material:
    """What stratum 0 holds for one repository, without its master key.

    Attributes:
        name: whose it is.
        keys: what signs it now; the master key is left empty.
        gateway: proves publishers.
        kind: where the master key is.
        former_gateway: what proved publishers before, if anything.
        next_keys: what will sign it, while that is being replaced.
        former_certificate: of the key before, PEM; listed until ``former_until``.
        values: all of it, as it is stored.
    """

    name: RepositoryName
    keys: RepositoryKeys
    gateway: GatewayKey
    kind: MasterKind
    former_gateway: GatewayKey | None
    next_keys: RepositoryKeys | None
    former_certificate: bytes | None
    former_until: datetime | None
    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, name: RepositoryName, values: Values) -> "Material":
        """Read what is stored.

        Raises:
            Corrupt: a part is missing. The message names it, never its value.
            FormatError: a part is malformed.
        """
        missing = [each for each in _NEEDED if each not in values]
        if missing:
            msg = f"the key material of {name} in the vault lacks {', '.join(sorted(missing))}"
            raise Corrupt(msg)
        public = values["publicKey"].encode()

        def pair(private: str, certificate: str) -> RepositoryKeys | None:
            if private not in values:
                return None
            return RepositoryKeys(b"", public, values[private].encode(), values[certificate].encode())

        former = values.get("formerCertificate")
        return cls(
            name,
            RepositoryKeys(b"", public, values["privateKey"].encode(), values["certificate"].encode()),
            GatewayKey.parse(values["gatewayKey"]),
            MasterKind(values.get("master", MasterKind.REPOSITORY)),
            GatewayKey.parse(values["formerGatewayKey"]) if "formerGatewayKey" in values else None,
            pair("nextPrivateKey", "nextCertificate"),
            None if former is None else former.encode(),
            None if former is None else datetime.fromtimestamp(float(values["formerUntil"]), UTC),
            values,
        )

    def certificates(self, now: datetime) -> tuple[bytes, ...]:
        """Those that the whitelist lists at ``now``, PEM: the one in use, one to come, one that was in use lately."""
        found = [self.keys.certificate]
        if self.next_keys is not None:
            found.append(self.next_keys.certificate)
        if self.former_certificate is not None and self.former_until is not None and now < self.former_until:
            found.append(self.former_certificate)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Master:
    """A master key and, while it is being replaced, the next one.

    Attributes:
        public_key: what clients have, PEM.
        private_key: signs whitelists, PEM; None when it is offline.
        next_public_key: what clients will have, once it is announced.
        next_private_key: will sign; signs already when ``switching``.
        next_since: when it was announced.
        switching: whitelists are being signed with the next key.
        values: all of it, as it is stored.
    """

    public_key: bytes
    private_key: bytes | None = field(default=None, repr=False)
    next_public_key: bytes | None = None
    next_private_key: bytes | None = field(default=None, repr=False)
    next_since: datetime | None = None
    switching: bool = False
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, values: Values) -> "Master":
        """Read what is stored."""
        since = values.get("nextSince")
        following = values.get("nextMasterKey")
        return cls(
            values["publicKey"].encode(),
            values["masterKey"].encode(),
            values["nextPublicKey"].encode() if following else None,
            following.encode() if following else None,
            None if since is None else datetime.fromtimestamp(float(since), UTC),
            "switching" in values,
            values,
        )

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """What clients should have now, the key in use first."""
        return (self.public_key, *([self.next_public_key] if self.next_public_key else []))

    @property
    def signing(self) -> tuple[bytes, bytes | None]:
        """The public and the private key that sign whitelists now."""
        if self.switching and self.next_public_key is not None:
            return self.next_public_key, self.next_private_key
        return self.public_key, self.private_key


class KeyMaterial:
    """Finds, makes and changes key material.

    Args:
        vault: with the role of stratum 0.
        kind: where the master keys of new repositories are.
        offline_keys: reads the public master keys, PEM, of master keys that are offline.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        vault: KeyVault,
        *,
        kind: MasterKind,
        offline_keys: Callable[[], tuple[bytes, ...]],
        clock: Callable[[], datetime],
    ) -> None:
        self._vault = vault
        self._kind = kind
        self._offline_keys = offline_keys
        self._clock = clock

    def find(self, name: RepositoryName, *, fresh: bool = False) -> Material | None:
        """The material of a repository, or None.

        Args:
            name: the repository.
            fresh: as it is now; otherwise it may be some time old.

        Raises:
            Corrupt: it is incomplete.
            FormatError: it is malformed.
        """
        values = self._vault.read_signing(name, fresh=fresh)
        return None if values is None or _DROPPED in values else Material.of(name, values)

    def get(self, name: RepositoryName, *, fresh: bool = False) -> Material:
        """As ``find``.

        Raises:
            NotFound: there is none.
        """
        found = self.find(name, fresh=fresh)
        if found is None:
            msg = f"{name} has no keys in the vault yet"
            raise NotFound(msg)
        return found

    def create(self, name: RepositoryName) -> Material:
        """The material of a repository, made where it is missing; may be repeated from any point."""
        found = self.find(name, fresh=True)
        if found is not None:
            return found
        master_key = public_key = None
        if self._kind is MasterKind.OFFLINE:
            public_key = self._offline()[0]
        else:
            master = self._make_master(self._place(name, self._kind))
            master_key, public_key = master.private_key, master.public_key
        keys = generate_keys(str(name), self._clock(), master_key=master_key)
        values = {
            "master": self._kind.value,
            "publicKey": public_key.decode(),
            "privateKey": keys.private_key.decode(),
            "certificate": keys.certificate.decode(),
            "gatewayKey": generate_gateway_key().to_text(),
        }
        return Material.of(name, self._vault.create_signing(name, values))

    def change(self, name: RepositoryName, change: Change, *, forget: bool = False) -> Material:
        """Change what is stored of a repository; ``forget`` destroys what was stored before."""
        return Material.of(name, self._vault.change_signing(name, change, forget=forget))

    def drop(self, name: RepositoryName) -> None:
        """Remove the keys of a repository for good, with its own master key; may be repeated from any point."""
        values = self._vault.read_signing(name, fresh=True)
        if values is None:
            return
        kind = values.get("master", MasterKind.REPOSITORY.value)
        if kind == MasterKind.REPOSITORY:
            with suppress(NotFound):
                place = self._place(name, MasterKind.REPOSITORY)
                self._vault.change_master(place, lambda _values: {_DROPPED: "true"}, forget=True)
        # Whose master key it was stays, for who repeats this.
        self._vault.change_signing(name, lambda _values: {"master": kind, _DROPPED: "true"}, forget=True)

    def master(self, material: Material) -> Master:
        """The master key of a repository. One that an earlier softman kept beside the signing key is moved.

        Raises:
            Corrupt: it is not where it should be.
            InvalidInput: it is offline, and the settings do not name its public key.
        """
        if material.kind is MasterKind.OFFLINE:
            first, *others = self._offline()
            return Master(first, next_public_key=others[0] if others else None)
        values = material.values
        place = self._place(material.name, material.kind)
        if "masterKey" in values:
            moved = {"masterKey": values["masterKey"], "publicKey": values["publicKey"]}
            stored = self._vault.create_master(place, moved)
            self.change(material.name, _without_master, forget=True)
        else:
            stored = self._vault.read_master(place) or {}
        if not {"masterKey", "publicKey"} <= stored.keys():
            msg = f"the master key of {material.name} is not in the vault"
            raise Corrupt(msg)
        return Master.of(stored)

    def change_master(self, material: Material, change: Change, *, forget: bool = False) -> Master:
        """Change what is stored of a repository's master key; for one that is not offline."""
        place = self._place(material.name, material.kind)
        return Master.of(self._vault.change_master(place, change, forget=forget))

    def place(self, material: Material) -> str:
        """Where the master key of a repository is, unless it is offline; see ``KeyVault.read_master``."""
        return self._place(material.name, material.kind)

    def follow(self, material: Material, public_key: bytes) -> Material:
        """Note which public key a repository's whitelist is verified with."""
        text = public_key.decode()
        return self.change(material.name, lambda values: values | {"publicKey": text})

    def _make_master(self, place: str) -> Master:
        stored = self._vault.read_master(place)
        if stored is None:
            private, public = generate_master_key()
            made = {"masterKey": private.decode(), "publicKey": public.decode()}
            stored = self._vault.create_master(place, made)
        if "masterKey" not in stored:
            msg = f"the master key {place} in the vault is incomplete"
            raise Conflict(msg)
        return Master.of(stored)

    def _place(self, name: RepositoryName, kind: MasterKind) -> str:
        return f"domain/{name.domain}" if kind is MasterKind.DOMAIN else f"repository/{name}"

    def _offline(self) -> tuple[bytes, ...]:
        keys = self._offline_keys()
        if not keys:
            msg = "the master key is offline: SOFTMAN_CVMFS__MASTER_PUBLIC_KEYS must name the file of its public key"
            raise InvalidInput(msg)
        return keys


def owned_public_keys(owned: Mapping[str, str]) -> tuple[bytes, ...]:
    """The public master keys, PEM, among the keys in the owner's part of the vault."""
    return tuple(owned[field].encode() for field in ("publicKey", "nextPublicKey") if field in owned)


def _without_master(values: Values) -> Values:
    return {name: value for name, value in values.items() if name != "masterKey"}
