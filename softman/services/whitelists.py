"""Keeping whitelists signed: each lists the certificates that may sign now, and never comes near its end unnoticed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from softman.adapters.ports import Registry
from softman.cvmfs.errors import CvmfsError, ObjectMissing, StoreUnavailable
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.signature import fingerprint
from softman.cvmfs.format.whitelist import Whitelist
from softman.cvmfs.repository import Repository
from softman.cvmfs.rotation import put_whitelist
from softman.cvmfs.verify import verify_whitelist
from softman.errors import PermanentError, SoftmanError
from softman.model import State
from softman.names import RepositoryName
from softman.services.material import KeyMaterial, Master, Material
from softman.services.translate import cvmfs_errors

OpenRepository = Callable[[RepositoryName, RepositoryKeys], Repository]


@dataclass(frozen=True, slots=True)
class WhitelistTimes:
    """How long whitelists are valid.

    Attributes:
        days: of validity; each is signed anew after half of it.
        alarm: with less left it is an alarm when one cannot be signed.
    """

    days: int
    alarm: timedelta


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A whitelist that could not be signed anew.

    Attributes:
        repository: whose it is.
        error: why.
        expires: when the one in force expires; None when there is none that clients take.
        alarm: that is soon.
    """

    repository: RepositoryName
    error: SoftmanError
    expires: datetime | None
    alarm: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A whitelist and the public key, PEM, that it was verified with."""

    whitelist: Whitelist
    public_key: bytes


class Whitelists:
    """Signs, exports and imports whitelists.

    Args:
        material: the keys.
        registry: which repositories there are.
        open_repository: the storage of a repository, with the keys to sign with.
        times: how long they are valid.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        material: KeyMaterial,
        registry: Registry,
        open_repository: OpenRepository,
        times: WhitelistTimes,
        clock: Callable[[], datetime],
    ) -> None:
        self._material = material
        self._registry = registry
        self._open = open_repository
        self._times = times
        self._clock = clock

    def sign_all(self) -> tuple[int, list[Unsigned]]:
        """Sign every whitelist that is due; how many there were, and which could not be signed.

        One repository that fails does not keep others from being signed.
        """
        done, failed = 0, []
        for name in self._registry.names():
            expires: datetime | None = None
            try:
                record = self._registry.get(name)
                material = self._material.find(name, fresh=True)  # an old one would forbid a certificate to come
                if record is None or material is None or record.state is State.REQUESTED:
                    continue
                with cvmfs_errors(f"the whitelist of {name}"):
                    found = self.verified(material)
                    expires = None if found is None else found.whitelist.expires
                    done += self.ensure(material)
            except SoftmanError as exc:
                failed.append(Unsigned(name, exc, expires, self._is_soon(expires)))
        return done, failed

    def ensure(self, material: Material) -> bool:
        """Make sure that the whitelist lists the right certificates and is valid for long; True when it was signed.

        Raises:
            PermanentError: it is due, and its master key is offline; the message says what to do.
        """
        wanted = material.certificates(self._clock())
        master = self._material.master(material)
        found = self._verified(material, master)
        public_key, private_key = master.signing
        if private_key is None:
            if found is None or not _all(found.whitelist, wanted) or self._is_soon(found.whitelist.expires):
                raise PermanentError(self.elsewhere(material.name))
            return False
        least = self._clock() + timedelta(days=self._times.days) / 2
        good = found is not None and found.public_key == public_key and found.whitelist.expires >= least
        if found is not None and good and _lists(found.whitelist, wanted):
            return False
        keys = replace(material.keys, master_key=private_key, public_key=public_key)
        self.opened(material, keys).resign_whitelist(self._times.days, also=wanted)
        return True

    def verified(self, material: Material) -> Verified | None:
        """The whitelist in force, signed with any of the master keys that clients may have; None without one."""
        return self._verified(material, self._material.master(material))

    def _verified(self, material: Material, master: Master) -> Verified | None:
        for public_key in master.public_keys:
            head = self._open(material.name, replace(material.keys, public_key=public_key)).head
            try:
                return Verified(head.whitelist(), public_key)
            except StoreUnavailable:
                raise
            except CvmfsError:
                continue
        return None

    def elsewhere(self, name: RepositoryName) -> str:
        """What to do about a whitelist that has to be signed elsewhere."""
        return (
            f"the master key of {name} is offline, so its whitelist has to be signed elsewhere: softman whitelist "
            f"export {name}, then softman whitelist sign where the master key is, then softman whitelist import {name}"
        )

    def export(self, name: RepositoryName) -> bytes:
        """The lines of the next whitelist of a repository, to be signed elsewhere.

        Raises:
            NotFound: it has no keys yet.
        """
        material = self._material.get(name, fresh=True)
        now = self._clock().astimezone(UTC).replace(microsecond=0)
        with cvmfs_errors(f"the whitelist of {name}"):
            algorithm = self._algorithm(material)
            listed = tuple(fingerprint(each, algorithm) for each in material.certificates(now))
        expires = now + timedelta(days=self._times.days)
        return Whitelist(repository=str(name), created=now, expires=expires, fingerprints=listed).to_text()

    def import_signed(self, name: RepositoryName, data: bytes, *, ttl: int) -> Whitelist:
        """Put a whitelist that was signed elsewhere in force, after a client's checks; make the repository if need be.

        Args:
            name: the repository.
            data: the file.
            ttl: of a repository that is made.

        Raises:
            Corrupt: it fails a check, the message says which. Nothing was changed.
        """
        material = self._material.get(name, fresh=True)
        keys = self._material.master(material).public_keys
        with cvmfs_errors(f"the whitelist of {name}"):
            fresh = verify_whitelist(data, keys, str(name), self._clock())
            if not fresh.lists(material.keys.certificate):
                msg = f"the whitelist does not list the certificate of {name} that is in use: export it again"
                raise PermanentError(msg)
            public_key = next(key for key in keys if _is_signed_with(data, key, str(name), self._clock()))
            material = self._material.follow(material, public_key)
            repository = self.opened(material, material.keys)
            try:
                repository.manifest()
            except ObjectMissing:
                repository.create(ttl=ttl, whitelist_days=self._times.days, whitelist=data)
            return put_whitelist(repository.head, data)

    def opened(self, material: Material, keys: RepositoryKeys) -> Repository:
        """The repository with ``keys``, or with those to come when they have signed what is in force."""
        repository = self._open(material.name, keys)
        following = material.next_keys
        if following is not None and not _signs(repository):
            other = replace(keys, private_key=following.private_key, certificate=following.certificate)
            changed = self._open(material.name, other)
            return changed if _signs(changed) else repository
        return repository

    def _algorithm(self, material: Material) -> HashAlgorithm:
        try:
            return self.opened(material, material.keys).manifest().root_hash.algorithm
        except CvmfsError:  # not made yet
            return HashAlgorithm.SHA1

    def _is_soon(self, expires: datetime | None) -> bool:
        return expires is None or expires - self._clock() < self._times.alarm


def _lists(whitelist: Whitelist, certificates: Sequence[bytes]) -> bool:
    """Whether it lists these and no others."""
    return len(whitelist.fingerprints) == len(certificates) and _all(whitelist, certificates)


def _all(whitelist: Whitelist, certificates: Sequence[bytes]) -> bool:
    return all(whitelist.lists(certificate) for certificate in certificates)


def _signs(repository: Repository) -> bool:
    try:
        repository.manifest()
    except CvmfsError:
        return False
    return True


def _is_signed_with(data: bytes, public_key: bytes, name: str, now: datetime) -> bool:
    try:
        verify_whitelist(data, [public_key], name, now)
    except CvmfsError:
        return False
    return True
