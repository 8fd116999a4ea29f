"""The way out when a repository's tag database is lost: begin a new one, which knows only the revision in force."""

from dataclasses import replace

from softman.cvmfs.errors import FormatError, ObjectMissing, TagError, VerificationError
from softman.cvmfs.format.history import History
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.head import Head
from softman.cvmfs.revisions import read_history
from softman.cvmfs.tags import Tagging, advance


def forget_lost_tags(head: Head) -> Manifest:
    """Publish the revision in force again with a new tag database, because the one it names cannot be read.

    As long as it cannot, no change can be committed: tags would be lost without anybody deciding so. First try to bring
    the object back from a replica or a backup. The trees of lost tags stay until a garbage collection that does not
    keep them for another reason; ``Repository.add_tag`` can name revisions anew until then.

    Args:
        head: of the repository.

    Returns:
        The manifest, of the same revision.

    Raises:
        TagError: the tag database is whole; nothing was changed.
        CvmfsError: the repository cannot be read or written.
    """
    with head.locked() as current:
        try:
            read_history(head.store, current, work_dir=head.work_dir)
        except (ObjectMissing, VerificationError, FormatError):
            lost = current.history
        else:
            raise TagError("the tag database is whole: tags can be removed one by one")
        fresh = replace(current, history=None, published_at=head.not_before(current))
        history = head.put_history(advance(History(current.repository), fresh, Tagging()), fresh)
        return head.publish(replace(fresh, history=history), forget=[] if lost in {None, history} else [lost])
