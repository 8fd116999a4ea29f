"""What stratum 0 does: the only side with signing keys. Every method may be repeated from any point."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from softman.adapters.ports import KeyVault, Registry
from softman.cvmfs.errors import RevisionConflict, SignatureInvalid
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.paths import repository_path
from softman.cvmfs.repository import Limits, Repository
from softman.cvmfs.tags import Tagging
from softman.errors import (
    CandidateRefused,
    Conflict,
    Forbidden,
    InvalidInput,
    NameTaken,
    NotFound,
    Outage,
    PermanentError,
    SoftmanError,
    TransientError,
)
from softman.model import Base, CommitAnswer, CommitRequest, OwnerQuota, Quotas, RegistryRecord, State
from softman.names import Kind, Owner, RepositoryName
from softman.services.configuration import parse_configuration
from softman.services.holdings import unlimited_owner
from softman.services.lifecycle import UNFINISHED, check_kept, check_open
from softman.services.material import KeyMaterial, Material
from softman.services.proof import check_signature
from softman.services.translate import cvmfs_errors
from softman.services.whitelists import OpenRepository, Whitelists

_GENERIC = "generic-"
_SIGNATURES = 3
"""So often a commit looks for the keys in use, while they are being replaced."""


class Stratum0:
    """Registers, creates and commits repositories.

    Args:
        vault: where the owners' keys are, with the role of stratum 0.
        material: the keys that sign.
        whitelists: signs whitelists.
        registry: the registry, with the right to write.
        open_repository: the storage of a repository, with the keys to sign with.
        domain: the domain of new repositories.
        ttl: seconds after which stock clients look for a new revision.
        whitelist_days: validity of a whitelist.
        staging_age: staged objects older than this are swept.
        links_anywhere: let symbolic links lead out of their repository.
        owner_quota: what a repository's owner may have, and has elsewhere; None for no limit.
    """

    def __init__(
        self,
        *,
        vault: KeyVault,
        material: KeyMaterial,
        whitelists: Whitelists,
        registry: Registry,
        open_repository: OpenRepository,
        domain: str,
        ttl: int,
        whitelist_days: int,
        staging_age: timedelta,
        links_anywhere: bool = False,
        owner_quota: Callable[[RegistryRecord], OwnerQuota | None] = unlimited_owner,
    ) -> None:
        self._vault = vault
        self._material = material
        self._whitelists = whitelists
        self._registry = registry
        self._open_repository = open_repository
        self._domain = domain
        self._ttl = ttl
        self._whitelist_days = whitelist_days
        self._staging_age = staging_age
        self._links_anywhere = links_anywhere
        self._owner_quota = owner_quota

    def request(self, user: str, subject: str, kind: Kind, group: str | None) -> RegistryRecord:
        """Register the repository of a user or a group; asking again gives the same record.

        Args:
            user: name of the requesting user.
            subject: their ``sub`` claim.
            kind: whose repository it is.
            group: name of the group, for a group repository.

        Raises:
            InvalidInput: a name breaks a rule.
            NameTaken: another user or a group already has a repository of this name.
            Forbidden: it is retired.
        """
        owner = Owner(user, subject, kind, group)
        name = RepositoryName(owner.label, self._domain)
        record = self._registry.get(name)
        if record is None:
            try:
                return self._registry.put(RegistryRecord(name, owner))
            except Conflict:  # somebody else was first, perhaps for the same owner
                record = self._record(name)
        _same_owner(record, owner)
        check_kept(record)
        return record

    def create_repository(self, name: RepositoryName) -> str:
        """Make keys and the signed, empty revision 1, where they are missing.

        Returns:
            What is there now, in words.

        Raises:
            PermanentError: its master key is offline, and no whitelist was imported yet.
        """
        record = self._record(name)
        check_kept(record)
        with cvmfs_errors(f"creating {name}"):
            material = self._material.create(name)
            public_key, private_key = self._material.master(material).signing
            if private_key is None:
                found = self._whitelists.verified(material)
                if found is None:
                    raise PermanentError(self._whitelists.elsewhere(name))
                public_key = found.public_key
            keys = replace(material.keys, master_key=private_key or b"", public_key=public_key)
            repository = self._whitelists.opened(material, keys)
            manifest = repository.create(ttl=self._ttl, whitelist_days=self._whitelist_days)
        if record.state is State.REQUESTED:
            self._registry.put(replace(record, state=State.CREATED))
        return f"revision {manifest.revision}"

    def publish_keys(self, name: RepositoryName) -> str:
        """Give the owner public key, certificate and gateway key, verify by reading back, and open the repository."""
        record = self._record(name)
        check_kept(record)
        self.hand_over(self._material.get(name, fresh=True))
        if record.state in UNFINISHED:
            self._registry.put(replace(record, state=State.ACTIVE))
        return "public key, certificate and gateway key"

    def hand_over(self, material: Material) -> None:
        """Write a repository's keys into its owner's part of the vault, and verify by reading back."""
        name = material.name
        owner = self._record(name).owner
        public, *following = self._material.master(material).public_keys
        wanted = {
            "publicKey": public.decode(),
            "certificateKey": material.keys.certificate.decode(),
            "gatewayKey": material.gateway.to_text(),
        }
        if following:
            wanted["nextPublicKey"] = following[0].decode()
        self._vault.write_owner_keys(owner, name, wanted)
        if self._vault.read_owner_keys(owner, name, fresh=True) != wanted:
            msg = f"the vault does not give back the keys written for {name}"
            raise Conflict(msg)

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """Check a candidate revision and sign it.

        Returns:
            Committed with the new revision; or not, with the base that is current, when another commit was first or an
            object that the candidate counts on is gone: publishing anew may then succeed.

        Raises:
            Forbidden: the request is not signed with the repository's gateway key.
            CandidateRefused: the repository takes no commits, or the candidate breaks a rule.
        """
        name = RepositoryName.parse(request.repository)
        record = self._record(name)
        check_open(record)
        with cvmfs_errors(f"the keys of {name}"):
            material = self._proven(name, request)
        if material is None:
            reason = f"the gateway key of {name} was replaced"
            return CommitAnswer(committed=False, current=request.base, reason=reason, key_replaced=True)
        self._keep_configuration(record, request.configuration)
        try:
            with cvmfs_errors(f"committing {name}"):
                manifest = self._commit(material, request, record)
        except Conflict as exc:
            return CommitAnswer(committed=False, current=_base_after(exc, request), reason=str(exc))
        return CommitAnswer(committed=True, current=Base(manifest.revision, str(manifest.root_hash)))

    def _proven(self, name: RepositoryName, request: CommitRequest) -> Material | None:
        """The keys, when ``request`` proves that its sender has the gateway key; None when they have the former one.

        Raises:
            Forbidden: they have neither.
        """
        material = self._material.get(name)
        try:
            check_signature(request, material.gateway)
        except Forbidden:
            material = self._material.get(name, fresh=True)  # it may have been replaced a moment ago
            try:
                check_signature(request, material.gateway)
            except Forbidden:
                if material.former_gateway is None:
                    raise
                check_signature(request, material.former_gateway)
                return None
        return material

    def _commit(self, material: Material, request: CommitRequest, record: RegistryRecord) -> Manifest:
        """Commit with the key in use, which may be replaced at this moment."""
        inside = "" if self._links_anywhere else f"/cvmfs/{material.name}"
        limits = commit_limits(record.quotas, self._owner_quota(record), request.path, inside)
        repository = self._open_repository(material.name, material.keys)
        for _ in range(_SIGNATURES):
            try:
                return _commit(repository, request, limits)
            except SignatureInvalid:
                material = self._material.get(material.name, fresh=True)
                repository = self._whitelists.opened(material, material.keys)
        return _commit(repository, request, limits)

    def _keep_configuration(self, record: RegistryRecord, text: str | None) -> None:
        """Record the bucket's configuration as the last good one (decision 13), before a revision follows it."""
        if text is None or text == record.configuration:
            return
        try:
            parse_configuration(text.encode())
        except InvalidInput as exc:
            msg = f"the configuration that comes with the revision is not valid: {exc}"
            raise CandidateRefused(msg) from exc
        try:
            self._registry.put(replace(record, configuration=text))
        except Conflict:  # the record changed meanwhile, in another field most likely
            self._registry.put(replace(self._record(record.repository), configuration=text))

    def unfinished(self) -> list[RepositoryName]:
        """Repositories whose provisioning stopped before stratum 0's last link."""
        records = (self._registry.get(name) for name in self._registry.names())
        return [record.repository for record in records if record and record.state in UNFINISHED]

    def sweep_staging(self) -> int:
        """Remove transactions that never came to a commit; how many there were.

        Raises:
            SoftmanError: it did not work for a repository; all others are done. One that may pass comes first.
        """
        done, failed = 0, list[SoftmanError]()
        for name in self._registry.names():
            try:
                with cvmfs_errors(f"sweeping the staging area of {name}"):
                    done += self._sweep(name)
            except Outage:
                raise  # the others would end the same way
            except SoftmanError as exc:
                failed.append(exc)
        if failed:
            raise next((exc for exc in failed if isinstance(exc, TransientError)), failed[0])
        return done

    def _sweep(self, name: RepositoryName) -> int:
        material, record = self._material.find(name), self._registry.get(name)
        if material is None or record is None or record.state is State.REQUESTED:
            return 0
        return self._open_repository(name, material.keys).sweep_staging(self._staging_age)

    def _record(self, name: RepositoryName) -> RegistryRecord:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}"
            raise NotFound(msg)
        return record


def _same_owner(record: RegistryRecord, owner: Owner) -> None:
    theirs = record.owner
    if theirs.kind is not owner.kind:
        other = "a group" if theirs.kind is Kind.GROUP else "a user"
        msg = f"the name {owner.label} already belongs to {other}; users and groups share one name space"
        raise NameTaken(msg)
    if owner.kind is Kind.PERSONAL and theirs.subject != owner.subject:
        msg = f"the name {owner.label} already belongs to another account"
        raise NameTaken(msg)


def _base_after(conflict: Conflict, request: CommitRequest) -> Base:
    """The base to build on next; an object that is gone (``CandidateIncomplete``) leaves it as it was."""
    cause = conflict.__cause__
    return Base(cause.revision, str(cause.root_hash)) if isinstance(cause, RevisionConflict) else request.base


def _commit(repository: Repository, request: CommitRequest, limits: Limits) -> Manifest:
    return repository.commit(
        ContentHash.parse(request.new_root_hash),
        base_revision=request.base.revision,
        base_root_hash=ContentHash.parse(request.base.root_hash),
        transaction=request.transaction,
        limits=limits,
        tagging=_tagging(request),
        repairs=[path.encode(errors="surrogateescape") for path in request.repairs],
    )


def commit_limits(quotas: Quotas, owner: OwnerQuota | None, path: str, links_within: str) -> Limits:
    """What a candidate must keep to: the quotas of its repository, and what its owner's other repositories leave."""
    max_entries, max_bytes, note = quotas.max_entries, quotas.max_bytes, ""
    if owner is not None:
        others = owner.others
        max_entries = min(max_entries, max(0, owner.max_entries - others.entries) if owner.max_entries else max_entries)
        max_bytes = min(max_bytes, max(0, owner.max_bytes - others.bytes) if owner.max_bytes else max_bytes)
        note = f"other repositories of {owner.user} hold {others.entries} entries and {others.bytes} bytes"
    return Limits(
        max_entries=_with_markers(max_entries),
        max_bytes=max_bytes,
        lease_path=repository_path(path),
        links_within=links_within,
        quota_note=note,
    )


def _tagging(request: CommitRequest) -> Tagging:
    """A tag that a stock publisher names after the time gets that of our clock, as on stock gateways."""
    if request.tag.startswith(_GENERIC):
        return Tagging(generic=True)
    return Tagging(request.tag or None, request.tag_description)


def _with_markers(entries: int) -> int:
    """The quota of entries with room for the markers of automatic catalogs, which are not the owner's."""
    return entries + entries // 256 + 64
