"""What stratum 0 does: the only side with signing keys. Every method may be repeated from any point."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from softman.adapters.ports import KeyVault, Registry
from softman.cvmfs.errors import RevisionConflict
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.keys import GatewayKey, RepositoryKeys, generate_gateway_key, generate_keys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.paths import repository_path
from softman.cvmfs.repository import Limits, Repository
from softman.errors import (
    CandidateRefused,
    Conflict,
    Corrupt,
    InvalidInput,
    NameTaken,
    NotFound,
    Outage,
    SoftmanError,
    TransientError,
)
from softman.model import Base, CommitAnswer, CommitRequest, RegistryRecord, State
from softman.names import Kind, Owner, RepositoryName
from softman.services.configuration import parse_configuration
from softman.services.lifecycle import UNFINISHED, check_kept, check_open
from softman.services.proof import check_signature
from softman.services.translate import cvmfs_errors

SigningMaterial = dict[str, str]


class Stratum0:
    """Registers, creates and commits repositories.

    Args:
        vault: key material, with the role of stratum 0.
        registry: the registry, with the right to write.
        open_repository: the storage of a repository, with the keys to sign with.
        domain: the domain of new repositories.
        ttl: seconds after which stock clients look for a new revision.
        whitelist_days: validity of a whitelist; it is signed anew after half of it.
        staging_age: staged objects older than this are swept.
        clock: the present time, with a time zone.
        links_anywhere: let symbolic links lead out of their repository.
    """

    def __init__(
        self,
        *,
        vault: KeyVault,
        registry: Registry,
        open_repository: Callable[[RepositoryName, RepositoryKeys], Repository],
        domain: str,
        ttl: int,
        whitelist_days: int,
        staging_age: timedelta,
        clock: Callable[[], datetime],
        links_anywhere: bool = False,
    ) -> None:
        self._vault = vault
        self._registry = registry
        self._open_repository = open_repository
        self._domain = domain
        self._ttl = ttl
        self._whitelist_days = whitelist_days
        self._staging_age = staging_age
        self._clock = clock
        self._links_anywhere = links_anywhere

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
        """
        record = self._record(name)
        check_kept(record)
        with cvmfs_errors(f"creating {name}"):
            material = self._signing_material(name) or self._new_signing_material(name)
            repository = self._open_repository(name, _keys(material))
            manifest = repository.create(ttl=self._ttl, whitelist_days=self._whitelist_days)
        if record.state is State.REQUESTED:
            self._registry.put(replace(record, state=State.CREATED))
        return f"revision {manifest.revision}"

    def publish_keys(self, name: RepositoryName) -> str:
        """Give the owner public key, certificate and gateway key, verify by reading back, and open the repository."""
        record = self._record(name)
        check_kept(record)
        material = self._material(name)
        wanted = {
            "publicKey": material["publicKey"],
            "certificateKey": material["certificate"],
            "gatewayKey": material["gatewayKey"],
        }
        self._vault.write_owner_keys(record.owner, name, wanted)
        if self._vault.read_owner_keys(record.owner, name) != wanted:
            msg = f"the vault does not give back the keys written for {name}"
            raise Conflict(msg)
        if record.state in UNFINISHED:
            self._registry.put(replace(record, state=State.ACTIVE))
        return "public key, certificate and gateway key"

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
        material = self._material(name)
        check_signature(request, GatewayKey.parse(material["gatewayKey"]))
        self._keep_configuration(record, request.configuration)
        repository = self._open_repository(name, _keys(material))
        try:
            with cvmfs_errors(f"committing {name}"):
                inside = "" if self._links_anywhere else f"/cvmfs/{name}"
                manifest = _commit(repository, request, record, inside)
        except Conflict as exc:
            return CommitAnswer(committed=False, current=_base_after(exc, request), reason=str(exc))
        return CommitAnswer(committed=True, current=Base(manifest.revision, str(manifest.root_hash)))

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

    def resign_whitelists(self) -> int:
        """Sign every whitelist anew whose remaining validity is under half; how many there were.

        Raises:
            SoftmanError: as ``sweep_staging``.
        """
        least = self._clock() + timedelta(days=self._whitelist_days) / 2

        def resign(repository: Repository) -> int:
            if repository.whitelist_expires() >= least:
                return 0
            repository.resign_whitelist(days=self._whitelist_days)
            return 1

        return self._in_each("signing the whitelist of", resign)

    def sweep_staging(self) -> int:
        """Remove transactions that never came to a commit; how many there were.

        Raises:
            SoftmanError: it did not work for a repository; all others are done. One that may pass comes first.
        """
        return self._in_each("sweeping the staging area of", lambda it: it.sweep_staging(self._staging_age))

    def _in_each(self, what: str, work: Callable[[Repository], int]) -> int:
        """Do the same for every repository. One that is damaged keeps nobody from the others."""
        done, failed = 0, list[SoftmanError]()
        for name in self._registry.names():
            try:
                material, record = self._signing_material(name), self._registry.get(name)
                if material is None or record is None or record.state is State.REQUESTED:
                    continue
                with cvmfs_errors(f"{what} {name}"):
                    done += work(self._open_repository(name, _keys(material)))
            except Outage:
                raise  # the others would end the same way
            except SoftmanError as exc:
                failed.append(exc)
        if failed:
            raise next((exc for exc in failed if isinstance(exc, TransientError)), failed[0])
        return done

    def _record(self, name: RepositoryName) -> RegistryRecord:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}"
            raise NotFound(msg)
        return record

    def _material(self, name: RepositoryName) -> SigningMaterial:
        material = self._signing_material(name)
        if material is None:
            msg = f"{name} has no keys in the vault yet"
            raise NotFound(msg)
        return material

    def _signing_material(self, name: RepositoryName) -> SigningMaterial | None:
        material = self._vault.read_signing(name)
        missing = {"masterKey", "publicKey", "privateKey", "certificate", "gatewayKey"} - set(material or {})
        if material is not None and missing:
            msg = f"the key material of {name} in the vault lacks {', '.join(sorted(missing))}"
            raise Corrupt(msg)
        return material

    def _new_signing_material(self, name: RepositoryName) -> SigningMaterial:
        keys = generate_keys(str(name), self._clock())
        mine = {
            "masterKey": keys.master_key.decode(),
            "publicKey": keys.public_key.decode(),
            "privateKey": keys.private_key.decode(),
            "certificate": keys.certificate.decode(),
            "gatewayKey": generate_gateway_key().to_text(),
        }
        return self._vault.create_signing(name, mine)


def _keys(material: SigningMaterial) -> RepositoryKeys:
    return RepositoryKeys(
        master_key=material["masterKey"].encode(),
        public_key=material["publicKey"].encode(),
        private_key=material["privateKey"].encode(),
        certificate=material["certificate"].encode(),
    )


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


def _commit(repository: Repository, request: CommitRequest, record: RegistryRecord, links_within: str) -> Manifest:
    return repository.commit(
        ContentHash.parse(request.new_root_hash),
        base_revision=request.base.revision,
        base_root_hash=ContentHash.parse(request.base.root_hash),
        transaction=request.transaction,
        limits=Limits(
            max_entries=_with_markers(record.quotas.max_entries),
            max_bytes=record.quotas.max_bytes,
            lease_path=repository_path(request.path),
            links_within=links_within,
        ),
        repairs=[path.encode(errors="surrogateescape") for path in request.repairs],
    )


def _with_markers(entries: int) -> int:
    """The quota of entries with room for the markers of automatic catalogs, which are not the owner's."""
    return entries + entries // 256 + 64
