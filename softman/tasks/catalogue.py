"""Every task once: its name and the queue it travels on. Arguments are ids and plain values, never secrets.

Every task also takes the argument ``requested_by``, by name: who asked, for the audit log of stratum 0.

The bodies are in ``workers``; a test holds that catalogue, workers and beat schedule agree.
"""

from dataclasses import dataclass

STRATUM0 = "stratum0"
COMMIT = "stratum0.commit"
CONNECTOR = "connector"
PUBLISHER = "publisher"
BULK = "publisher.bulk"
EVENTS = "s3-events"
DEAD = "softman.dead"
PUBLIC_EXCHANGE = "softman"
"""Where other systems publish to, with the task's name as routing key (decision 6)."""

TASK_QUEUES = (STRATUM0, COMMIT, CONNECTOR, PUBLISHER, BULK)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task: its name, its queue, and whether other systems may ask for it through the public exchange."""

    name: str
    queue: str
    public: bool = False


PROVISION = TaskSpec("softman.provision", STRATUM0, public=True)
"""``(owner, subject, kind="personal", group=None)``: a repository for a user or a group; starts the chain."""
CREATE_REPOSITORY = TaskSpec("softman.create_repository", STRATUM0)
"""``(repository)``: keys, certificate, whitelist, empty root catalog, signed revision 1."""
PUBLISH_KEYS = TaskSpec("softman.publish_keys", STRATUM0)
"""``(repository)``: public key, certificate and gateway key into the owner's part of the vault."""
ATTACH_PUBLISHER = TaskSpec("softman.attach_publisher", PUBLISHER)
"""``(repository)``: the gateway key works and the repository can be read."""
CONNECT_BUCKET = TaskSpec("softman.connect_bucket", CONNECTOR)
"""``(repository)``: the bucket exists, belongs to its owner and notifies us."""
FIRST_SYNC = TaskSpec("softman.first_sync", BULK)
"""``(repository)``: publishes what the bucket already holds."""
PUBLISH_CHANGES = TaskSpec("softman.publish_changes", PUBLISHER, public=True)
"""``(repository)``: publishes the pending keys."""
COMMIT_REVISION = TaskSpec("softman.commit", COMMIT)
"""``(request)``: stratum 0 checks a candidate revision and signs it."""
RESYNC = TaskSpec("softman.resync", BULK, public=True)
"""``(repository, prefix=None, verify=False, after=None)``: the difference between bucket and repository, now.

In full, or for keys that begin with ``prefix`` (``cvmfs/`` included); ``verify`` reads every object again and compares
content; ``after`` goes on behind a key.

The result is ``{"schema": 1, "repository", "message", "revision", "more", "next"}``: the last revision that the task
made, if any; whether work is left; and the id of the task that goes on with it, when it is known.
"""
PLAN = TaskSpec("softman.plan", BULK, public=True)
"""``(repository, prefix=None, verify=False, limit=100)``: what ``softman.resync`` would do; changes nothing.

The result is ``{"schema": 1, "repository", "counts": {action: number}, "steps": [first ones], "complete"}``.
"""
RECONCILE = TaskSpec("softman.reconcile", BULK)
"""``()``: queues a ``reconcile_repository`` for every repository, spread over time."""
RECONCILE_REPOSITORY = TaskSpec("softman.reconcile_repository", BULK)
"""``(repository)``: like ``resync``, and makes sure that the bucket is still connected."""
DRAIN = TaskSpec("softman.drain", PUBLISHER)
"""``()``: queues ``publish_changes`` where keys are pending and nobody holds the lease."""
LOCK = TaskSpec("softman.lock", STRATUM0)
"""``(repository)``: stops commits until ``softman.unlock``; for administrators."""
UNLOCK = TaskSpec("softman.unlock", STRATUM0)
"""``(repository)``: lets commits go on."""
ROLLBACK = TaskSpec("softman.rollback", STRATUM0, public=True)
"""``(repository, revision)``: shows the tree of an earlier revision, and pauses publishing until ``softman.resume``.

The result is ``{"schema": 1, "repository", "message", "revision", "shows"}``: the revision in force now, and the
earlier one whose tree it has.
"""
RESUME = TaskSpec("softman.resume", STRATUM0, public=True)
"""``(repository)``: ends the pause after a roll-back; what the bucket says is published again.

The result is ``{"schema": 1, "repository", "message", "next"}``: ``next`` is the id of the ``softman.resync`` that
follows.
"""
RETIRE = TaskSpec("softman.retire", STRATUM0, public=True)
"""``(repository, keep_content=True)``: gives a repository up; its name is not given away.

The result is ``{"schema": 1, "repository", "message", "state", "until", "keep_content"}``: until ``until``, in Unix
time, ``softman.restore`` brings everything back; then content and keys are dropped, unless they are kept.
"""
RESTORE = TaskSpec("softman.restore", STRATUM0, public=True)
"""``(repository)``: takes a retirement back, by the provisioning chain.

The result is ``{"schema": 1, "repository", "message", "chain"}``, with the ids of the tasks of the links.
"""
REVOKE_KEYS = TaskSpec("softman.revoke_keys", STRATUM0)
"""``(repository)``: the gateway key of a retired repository is void."""
DISCONNECT_BUCKET = TaskSpec("softman.disconnect_bucket", CONNECTOR)
"""``(repository)``: its bucket notifies us no more."""
FORGET_PENDING = TaskSpec("softman.forget_pending", BULK)
"""``(repository)``: nothing waits to be published for a retired repository, and nobody holds its lease."""
DROP_RETIRED = TaskSpec("softman.drop_retired", STRATUM0)
"""``()``: removes content and keys of repositories whose time of grace is over."""
SET_QUOTAS = TaskSpec("softman.set_quotas", STRATUM0, public=True)
"""``(repository, quotas)``: what it may hold; ``quotas`` has new values by the names of ``softman.model.Quotas``.

The result is ``{"schema": 1, "repository", "message", "quotas"}``, with all of them.
"""
COLLECT_GARBAGE = TaskSpec("softman.collect_garbage", STRATUM0)
"""``(repository, dry_run=False)``: removes what no kept revision refers to, as much as one turn allows.

The result is ``{"schema": 1, "repository", "message", "dry_run", "kept", "revisions", "objects", "bytes", "young",
"complete", "next"}``: numbers of kept revisions; how many went, with how many objects and stored bytes; objects that
are too young to go; whether that was all; and the id of the task that goes on.
"""
CHECK = TaskSpec("softman.check", STRATUM0)
"""``(repository, after="")``: reads what is stored of a repository, behind a hash, as much as one turn allows.

The result is ``{"schema": 1, "repository", "message", "objects", "bytes", "problems", "repaired", "complete",
"next"}``. Each problem is ``{"kind", "path", "message"}``; what the bucket has the content for is being repaired.
"""
UPKEEP = TaskSpec("softman.upkeep", STRATUM0)
"""``()``: collects garbage and checks, for the repositories whose time it is, as much as one turn allows."""
RESUME_PROVISIONING = TaskSpec("softman.resume_provisioning", STRATUM0)
"""``()``: starts the chain again where it stopped half way."""
RESUME_RETIREMENT = TaskSpec("softman.resume_retirement", STRATUM0)
"""``()``: the same for chains of retirement."""
ROTATE = TaskSpec("softman.rotate", STRATUM0)
"""``(repository, what, rotation="", switch=False, revoke=False)``: replaces ``gateway-key``, ``certificate`` (with its
private key; ``revoke`` drops the old one at once) or ``master-key`` (announces another; ``switch`` signs with it).

``rotation`` is its id, the task's own when empty: asked for again with the same, it goes on and is not begun anew.
"""
RESIGN = TaskSpec("softman.resign", STRATUM0)
"""``()``: signs whitelists anew well before they expire."""
SWEEP_STAGING = TaskSpec("softman.sweep_staging", STRATUM0)
"""``()``: removes staged objects of transactions that never came to a commit."""
REPORT_DEAD_LETTERS = TaskSpec("softman.report_dead_letters", STRATUM0)
"""``()``: tells the operators how many dead letters there are."""

TASKS = (
    PROVISION, CREATE_REPOSITORY, PUBLISH_KEYS, ATTACH_PUBLISHER, CONNECT_BUCKET, FIRST_SYNC, PUBLISH_CHANGES,
    COMMIT_REVISION, RESYNC, PLAN, RECONCILE, RECONCILE_REPOSITORY, DRAIN, RESUME_PROVISIONING, RESIGN, SWEEP_STAGING,
    REPORT_DEAD_LETTERS, LOCK, UNLOCK, ROTATE, ROLLBACK, RESUME, RETIRE, RESTORE, SET_QUOTAS, COLLECT_GARBAGE, CHECK,
    REVOKE_KEYS, DISCONNECT_BUCKET, FORGET_PENDING, DROP_RETIRED, RESUME_RETIREMENT, UPKEEP,
)  # fmt: skip

PUBLIC_TASKS = {spec.name: spec.queue for spec in TASKS if spec.public}
"""Names of the tasks that other systems may ask for, with their queues."""

PROVISIONING_CHAIN = (CREATE_REPOSITORY, PUBLISH_KEYS, ATTACH_PUBLISHER, CONNECT_BUCKET, FIRST_SYNC)
RETIREMENT_CHAIN = (REVOKE_KEYS, DISCONNECT_BUCKET, FORGET_PENDING)
CHAINS = (PROVISIONING_CHAIN, RETIREMENT_CHAIN)
