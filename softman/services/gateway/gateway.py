"""What requests to our repository gateway ask for: leases, payloads, commits, and an administrator's calls.

The gateway holds no signing key. It is a publisher among others: what it is sent it stages, merges into the revision in
force (``merger``), and proposes to stratum 0 through the same door and with the same checks. Errors are those of the
library whose messages are the protocol's reasons.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from softman.cvmfs.areas import StagingArea, staged_name
from softman.cvmfs.errors import (
    CvmfsError,
    FormatError,
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    LeaseLost,
    PathError,
    StoreUnavailable,
)
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.authorization import Authorization
from softman.cvmfs.gateway.gotime import format_time
from softman.cvmfs.gateway.messages import (
    CLIENT_VERSION,
    DISABLED,
    INVALID_HMAC,
    INVALID_KEY,
    INVALID_LEASE,
    INVALID_PATH,
    INVALID_REPOSITORY,
    NOT_ADMIN,
    SERVER_VERSION,
    UNKNOWN_REPOSITORY,
    CommitMessage,
    LeaseRequest,
    PayloadMessage,
    split_lease_path,
)
from softman.cvmfs.gateway.packs import PackedObject, read_header, read_objects
from softman.cvmfs.paths import repository_path
from softman.services.gateway.access import Access, AccessKey, Door
from softman.services.gateway.commits import Commits
from softman.services.gateway.leases import Lease, LeaseBook

Read = Callable[[int], bytes]
"""Gives up to so many of the next bytes, none at the end."""
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What publishers may do."""

    lease_bytes: int
    """Bytes of the objects sent under one lease."""


class Gateway:
    """Safe to be shared by threads.

    Args:
        access: repositories and keys.
        book: the leases.
        commits: makes revisions of what was sent.
        open_area: a staging area of a repository for a new transaction.
        limits: what publishers may do.
    """

    def __init__(
        self,
        *,
        access: Access,
        book: LeaseBook,
        commits: Commits,
        open_area: Callable[[str], StagingArea],
        limits: GatewayLimits,
    ) -> None:
        self._access = access
        self._book = book
        self._commits = commits
        self._open_area = open_area
        self._limits = limits
        self._disabled: set[str] = set()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def acquire(self, header: str, body: bytes, sender: str) -> Fields:
        """A lease for the path that ``body`` names.

        Args:
            header: the request's ``Authorization``.
            body: of the request.
            sender: the address that it comes from, for those who name no host.

        Raises:
            GatewayRefused: key, path, repository or version are not accepted.
            GatewayUnavailable: the repository is switched off.
            LeaseBusy: somebody else has the path.
            FormatError: ``body`` cannot be understood.
        """
        claim = _claim(header)
        repository, directory, request = _wish(body)
        door = self._access.door(repository, claim.key_id) if repository else None
        proven = self._proven(claim, door, body)
        path, request = LeaseRequest.parse(body)
        if request.version < CLIENT_VERSION:
            reason = f"incompatible request version: {request.version}, min version: {CLIENT_VERSION}"
            raise GatewayRefused(reason)
        split_lease_path(path)
        if door is None:
            raise GatewayRefused(UNKNOWN_REPOSITORY)
        if not door.enabled or repository in self._disabled:
            raise GatewayUnavailable(DISABLED)
        _check_scope(proven, door, _checked(directory))
        lease = self._book.take(repository, directory, claim.key_id, request.hostname or sender)
        return {"session_token": lease.token, "max_api_version": min(request.version, SERVER_VERSION)}

    def submit(self, header: str, token: str | None, message: bytes, read: Read) -> Fields:
        """Take an object pack.

        Args:
            header: the request's ``Authorization``.
            token: in the address; None where only the message has it.
            message: the JSON before the pack.
            read: gives the pack.

        Raises:
            LeaseLost: there is no such lease.
            GatewayRefused: the proof is wrong.
            GatewayError: the pack is not what it says, or too much.
            GatewayUnavailable: it cannot be stored now.
            FormatError: ``message`` cannot be understood.
        """
        said = PayloadMessage.parse(message) if token is None else None
        lease = self._book.find(said.session_token if said is not None else token or "")
        self._check(lease, header, message if token is None else lease.token.encode())
        said = said or PayloadMessage.parse(message)
        try:
            self._store(lease, said, read)
        except StoreUnavailable as exc:
            raise GatewayUnavailable(f"other_error: {exc}") from exc
        except GatewayError:
            raise
        except CvmfsError as exc:
            raise GatewayError(f"invalid payload: {exc}") from exc
        return {}

    def commit(self, header: str, token: str, body: bytes) -> Fields:
        """Make a revision of what was sent; the lease is over then.

        Raises:
            LeaseLost: there is no such lease.
            GatewayRefused: the proof is wrong.
            GatewayError: the change cannot be merged, or is not accepted; the lease stays.
            GatewayUnavailable: it cannot be done now; the lease stays.
            FormatError: ``body`` cannot be understood.
        """
        lease = self._book.find(token)
        key = self._check(lease, header, token.encode())
        message = CommitMessage.parse(body)
        with self._locks[lease.repository]:
            with lease.guard:
                lease = self._book.find(token)
                lease.committing = True
            try:
                revision = self._commits.commit(lease, message, key)
            finally:
                lease.committing = False
        self._book.drop(lease)
        return {"final_revision": revision}

    def drop(self, header: str, token: str) -> Fields:
        """Give a lease back; also one that expired.

        Raises:
            LeaseLost: there is no such lease.
            GatewayRefused: the proof is wrong.
        """
        lease = self._book.any_of(token)
        self._check(lease, header, token.encode())
        self._book.drop(lease)
        return {}

    def lease(self, token: str) -> Fields:
        """What is known of a lease.

        Raises:
            LeaseLost: there is no such lease.
        """
        return _shown(self._book.find(token))

    def leases(self) -> Fields:
        """All leases, by path. Tokens are not shown."""
        return {lease.full_path: _shown(lease) for lease in self._book.valid()}

    def repositories(self) -> Fields:
        """The repositories that publishers asked for since the start, by name."""
        return {name: self._described(name, door) for name, door in sorted(self._access.known().items())}

    def repository(self, name: str) -> Fields:
        """One of them.

        Raises:
            GatewayRefused: nobody asked for it.
        """
        door = self._access.known().get(name)
        if door is None:
            raise GatewayRefused(INVALID_REPOSITORY)
        return self._described(name, door)

    def check_admin(self, header: str, signed: bytes) -> None:
        """Accept an administrator's request.

        Raises:
            GatewayRefused: it is none.
        """
        try:
            claim = Authorization.parse(header)
        except FormatError as exc:
            raise GatewayRefused("invalid_authorization_header") from exc
        key = self._access.admin(claim.key_id)
        if key is None:
            raise GatewayRefused("invalid_key" if self._access.key(claim.key_id) is None else NOT_ADMIN)
        if not claim.proves(key, signed):
            raise GatewayRefused(INVALID_HMAC)

    def switch(self, name: str, *, enable: bool) -> None:
        """Give no leases for a repository, or give them again, until this process ends."""
        (self._disabled.discard if enable else self._disabled.add)(name)

    def drop_below(self, path: str) -> None:
        """End all leases on paths that begin with this one.

        Raises:
            GatewayRefused: it names no repository.
        """
        self._book.drop_below(*split_lease_path(path))

    def _store(self, lease: Lease, message: PayloadMessage, read: Read) -> None:
        objects = read_header(read, message.header_size, message.payload_digest)
        with lease.guard:
            lease.sent += sum(item.size for item in objects)
            if lease.sent > self._limits.lease_bytes:
                raise GatewayError(f"more than {self._limits.lease_bytes} bytes were sent under one lease")
            area = lease.area = lease.area or self._open_area(lease.repository)
        for item, pieces in read_objects(read, objects):
            if not area.holds(_name(item)):
                with area.spool() as spool:
                    for piece in pieces:
                        spool.write(piece)
                    spool.keep_as(_name(item))

    def _proven(self, claim: Authorization, door: Door | None, signed: bytes) -> GatewayKey:
        keys = [each.key for each in door.keys] if door is not None else []
        for key in (*keys, self._access.key(claim.key_id)):
            if key is not None and claim.proves(key, signed):
                return key
        raise GatewayRefused(INVALID_HMAC)

    def _check(self, lease: Lease, header: str, signed: bytes) -> GatewayKey:
        """Accept a request of somebody who has a key for the leased path."""
        claim = _claim(header)
        door = self._access.door(lease.repository, claim.key_id)
        key = self._proven(claim, door, signed)
        if door is None:
            raise LeaseLost(INVALID_LEASE)
        _check_scope(key, door, lease.path)
        return key

    def _described(self, name: str, door: Door) -> Fields:
        keys = {each.key.key_id: each.path for each in sorted(door.keys, key=lambda each: each.key.key_id)}
        return {"keys": keys, "enabled": door.enabled and name not in self._disabled}


def _claim(header: str) -> Authorization:
    try:
        return Authorization.parse(header)
    except FormatError as exc:
        raise GatewayRefused(INVALID_HMAC) from exc


def _wish(body: bytes) -> tuple[str, str, LeaseRequest | None]:
    """Repository and directory that a request names, before anything of it is proved."""
    try:
        path, request = LeaseRequest.parse(body)
        return (*split_lease_path(path), request)
    except (FormatError, GatewayRefused):
        return "", "", None


def _checked(directory: str) -> str:
    try:
        repository_path(f"/{directory}" if directory else "")
    except PathError as exc:
        raise GatewayRefused(f"path_violation: {exc}") from exc
    return directory


def _check_scope(key: GatewayKey, door: Door, directory: str) -> None:
    scope = next((each for each in door.keys if each.key == key), None)
    if scope is None:
        raise GatewayRefused(INVALID_KEY)
    if not _covers(scope, directory):
        raise GatewayRefused(INVALID_PATH)


def _covers(scope: AccessKey, directory: str) -> bool:
    below = scope.path.strip("/")
    return not below or directory == below or directory.startswith(below + "/")


def _name(item: PackedObject) -> str:
    return staged_name(item.hash, item.kind)


def _shown(lease: Lease) -> Fields:
    return {
        "key_id": lease.key_id,
        "path": lease.full_path,
        "expires": format_time(lease.expires),
        "hostname": lease.hostname,
    }
