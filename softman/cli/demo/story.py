"""What happens in the demo, chapter by chapter."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_connector import S3Connector
from softman.cli.backend import Backend, ServiceBackend
from softman.cli.demo.bucket import UserBucket
from softman.cli.demo.canary import Canary
from softman.cli.demo.narrator import Narrator
from softman.cli.demo.tree import Tree, packed, standard_library
from softman.cli.demo.watch import Sight, compare, content, files_of, wait_visible
from softman.cli.failures import Mismatch
from softman.cli.output import size
from softman.cli.waiting import Chain, links_of
from softman.cvmfs.errors import PathError
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot
from softman.names import Kind, RepositoryName
from softman.standalone.stack import Stack
from softman.tasks.catalogue import PROVISION, RECONCILE

USER = "alice"
_CHAIN_SECONDS = 120.0
_UPLOAD_SECONDS = 300.0
_CHANGE_SECONDS = 60.0
_SHOWN = 5
_DEAF_SECONDS = 2.0
"""How long the demo watches that nothing happens without notifications."""


@dataclass(slots=True)
class Story:
    """The stage and its props: the stack with its workers, who speaks, the user's bucket and repository."""

    stack: Stack
    narrator: Narrator
    backend: Backend = field(init=False)
    name: RepositoryName = field(init=False)
    bucket: UserBucket = field(init=False)
    reader: RepositoryReader = field(init=False)

    def __post_init__(self) -> None:
        settings = self.stack.settings()
        keys = self.stack.s3_credentials(USER)
        access = S3Access(settings.s3.endpoint, keys.access_key, keys.secret_key, settings.s3.region)
        self.backend = ServiceBackend(settings)
        self.name = RepositoryName(USER, settings.domain)
        self.bucket = UserBucket(access, self.name.bucket)


def start_workers(stack: Stack, narrator: Narrator, *, pages: bool) -> None:
    """Start our own processes (pages: Flower and dashboard, too) while a canary wakes the notifications."""
    narrator.chapter("Our workers, and a canary")
    narrator.say("An object is sent ahead: the object store notices a new topic only now and then, so the")
    narrator.say("first notification of a fresh site takes up to 30 s. Later ones take a tenth of a second.")
    with Canary(stack) as canary:
        canary.send()
        started = time.monotonic()
        stack.start_workers(flower=pages, dashboard=pages)
        took = time.monotonic() - started
        narrator.report(
            "workers", f"stratum 0, commit, connector, publisher, events and beat run: {took:.1f} s", seconds=took
        )
        narrator.say("waiting for the canary's notification ...")
        waited = canary.wait()
    narrator.report("canary", f"the canary's notification came after {waited:.1f} s", seconds=waited)


def tell(story: Story) -> None:
    """The story from the request to reconciliation."""
    request(story)
    tree = standard_library()
    upload(story, tree)
    changes(story, tree)
    reconciliation(story)


def request(story: Story) -> None:
    """The user asks for a repository; the links of the chain finish one by one."""
    narrator, name = story.narrator, story.name
    narrator.chapter(f"{USER} asks for a repository")
    status = story.backend.status()
    before = links_of(status, name)
    started = time.monotonic()
    sent = story.backend.send(PROVISION, USER, USER, Kind.PERSONAL.value, None)
    for progress in Chain(status, name, before).finished(sent, _CHAIN_SECONDS):
        passed = time.monotonic() - started
        text = f"{passed:5.1f} s  {progress.link.value:<18} {progress.detail}"
        narrator.report("link", text.rstrip(), link=progress.link.value, detail=progress.detail, seconds=passed)
    story.reader = story.backend.reader(name)
    url = status.repository(name).url
    narrator.report("repository", f"{name} is ready at {url}", repository=str(name), url=url)


def upload(story: Story, tree: Tree) -> None:
    """A real tree goes into the bucket, and comes out of the repository unchanged."""
    narrator = story.narrator
    narrator.chapter("A real tree goes into the bucket")
    count, total = len(tree.files), size(tree.size)
    extra = ", compiled modules included" if tree.compiled else ""
    narrator.say(f"the standard library of this Python ({tree.root}){extra}:")
    narrator.say(f"{count:,} files, {total}, to s3://{story.bucket.name}/cvmfs/ with {USER}'s own keys ...")
    started = time.monotonic()
    story.bucket.upload(tree.root, tree.files)
    took = time.monotonic() - started
    narrator.report(
        "upload",
        f"uploaded in {took:.1f} s; the publisher is already at work",
        files=count,
        bytes=tree.size,
        seconds=took,
    )

    def complete(snapshot: Snapshot) -> bool:
        shown = len(files_of(snapshot))
        narrator.say(f"revision {snapshot.manifest.revision}: {shown:,} of {count:,} files")
        return shown >= count

    sight = _wait(story, "the whole tree", complete, since=started, seconds=_UPLOAD_SECONDS)
    narrator.report(
        "published",
        f"all of it is published {sight.seconds - took:.1f} s after the last PUT",
        revision=sight.revision,
        seconds=sight.seconds,
        after_last_put=sight.seconds - took,
    )
    started = time.monotonic()
    with story.reader.snapshot() as snapshot:
        compare(snapshot, tree)
    took = time.monotonic() - started
    text = f"read back over HTTP, every signature and hash verified, and compared byte by byte: the same ({took:.1f} s)"
    narrator.report("compared", text, files=count, seconds=took)


def changes(story: Story, tree: Tree) -> None:
    """One file changed, one added, one removed, and an archive that becomes a folder."""
    story.narrator.chapter("Changes follow by themselves: seconds from PUT to visible")
    changed = next(name for name in tree.files if name.endswith("this.py"))
    removed = next(name for name in tree.files if name.endswith("antigravity.py"))
    new_text = (tree.root / changed).read_bytes() + b"# changed by softman demo\n"
    added_text = b"added by softman demo\n"
    bucket = story.bucket

    def shows(name: str, text: bytes) -> Callable[[Snapshot], bool]:
        return lambda snapshot: _content(snapshot, name) == text

    _change(story, "changed", changed, lambda: bucket.put(changed, new_text), shows(changed, new_text))
    _change(
        story,
        "added",
        "demo/new.txt",
        lambda: bucket.put("demo/new.txt", added_text),
        shows("demo/new.txt", added_text),
    )
    _change(story, "removed", removed, lambda: bucket.delete(removed), lambda s: _content(s, removed) is None)
    _change(
        story,
        "unpacked",
        "demo/box.tar.gz",
        lambda: bucket.put("demo/box.tar.gz", packed("inside.txt", added_text)),
        shows("demo/box/inside.txt", added_text),
    )


def reconciliation(story: Story) -> None:
    """A change that no notification told of."""
    narrator, bucket = story.narrator, story.bucket
    narrator.chapter("A change that nobody heard of")
    S3Connector.from_settings(story.backend.settings.s3).remove_notification(bucket.name)
    text = b"no notification told of this file\n"
    bucket.put("demo/unheard.txt", text)
    put = time.monotonic()
    if _seen_within(story, "demo/unheard.txt", _DEAF_SECONDS):
        msg = "a file was published although notifications are off"
        raise Mismatch(msg)
    narrator.say(
        f"notifications are off; demo/unheard.txt was added, and {_DEAF_SECONDS:g} s later nothing has happened"
    )
    started = time.monotonic()
    story.backend.send(RECONCILE)
    sight = _wait(
        story,
        "the file that reconciliation should find",
        lambda snapshot: _content(snapshot, "demo/unheard.txt") == text,
        since=started,
        seconds=_CHANGE_SECONDS,
    )
    narrator.report(
        "reconciled",
        f"{sight.seconds:5.2f} s  reconciliation, which runs every quarter of an hour, was asked for and found it",
        seconds=sight.seconds,
        since_put=time.monotonic() - put,
        revision=sight.revision,
    )
    if not bucket.notifies():
        msg = "reconciliation did not switch the bucket's notifications on again"
        raise Mismatch(msg)
    narrator.say("         and switched the bucket's notifications on again")


def _change(story: Story, kind: str, name: str, act: Callable[[], None], condition: Callable[[Snapshot], bool]) -> None:
    started = time.monotonic()
    act()
    sight = _wait(story, f"{name}, {kind},", condition, since=started, seconds=_CHANGE_SECONDS)
    story.narrator.report(
        kind,
        f"{sight.seconds:5.2f} s  {kind} {name} (revision {sight.revision})",
        file=name,
        seconds=sight.seconds,
        revision=sight.revision,
    )


def _wait(story: Story, what: str, condition: Callable[[Snapshot], bool], *, since: float, seconds: float) -> Sight:
    try:
        return wait_visible(story.reader, what, condition, since=since, seconds=seconds)
    except Mismatch as exc:
        refused = story.backend.status().repository(story.name).refusals
        if not refused:
            raise
        msg = f"{exc}; refused are {'; '.join(f'{one.key}: {one.reason}' for one in refused[:_SHOWN])}"
        raise Mismatch(msg) from exc


def _seen_within(story: Story, name: str, seconds: float) -> bool:
    try:
        _wait(story, name, lambda s: _content(s, name) is not None, since=time.monotonic(), seconds=seconds)
    except Mismatch:
        return False
    return True


def _content(snapshot: Snapshot, name: str) -> bytes | None:
    try:
        return content(snapshot, name)
    except PathError:
        return None
