"""Connecting buckets: the work of the ``connector`` pool, with a credential of its own (decision 3)."""

from softman.adapters.ports import BucketConnector
from softman.errors import InvalidInput, NotFound, PermanentError
from softman.log import get_logger
from softman.names import RepositoryName

_log = get_logger(__name__)


class Connector:
    """Makes sure that buckets exist, belong to their owner and notify us.

    Args:
        buckets: the object store, with the right to create buckets and to write notification configurations.
    """

    def __init__(self, buckets: BucketConnector) -> None:
        self._buckets = buckets

    def connect(self, name: RepositoryName) -> str:
        """Make sure that the repository's bucket is there, belongs to its owner and notifies us.

        Returns:
            What was done, in words.

        Raises:
            Forbidden: the bucket belongs to somebody else.
            NotFound: the owner is no user of the object store.
            ServiceUnavailable: the object store does not answer.
        """
        created = self._buckets.ensure_bucket(name.bucket, name.bucket)
        changed = self._buckets.ensure_notification(name.bucket)
        if changed:
            _log.info("notification is installed", repository=str(name), bucket_created=created)
        bucket = f"bucket {name.bucket} {'created' if created else 'found'}"
        done = f"{bucket}, notification {'installed' if changed else 'in place'}"
        return done + self._share(name)

    def disconnect(self, name: RepositoryName) -> str:
        """Let go of a repository's bucket: it notifies us no more, and the dashboard puts nothing into it.

        The bucket stays, and so does the shared topic. May be repeated.

        Returns:
            What was done, in words.

        Raises:
            ServiceUnavailable: the object store does not answer.
        """
        bucket = name.bucket
        try:
            self._buckets.remove_notification(bucket)
            self._buckets.remove_uploads(bucket)
        except NotFound:
            return f"there is no bucket {bucket} any more"
        except InvalidInput as exc:  # the owner's policy cannot be read, so nothing of ours is known to be in it
            _log.warning("the bucket's policy is left as it is", repository=str(name), reason=str(exc))
        return f"bucket {bucket} is let go"

    def _share(self, name: RepositoryName) -> str:
        """What became of uploads in the browser, without which a bucket is connected all the same."""
        try:
            changed = self._buckets.ensure_uploads(name.bucket)
        except PermanentError as exc:
            _log.warning("the dashboard cannot upload", repository=str(name), reason=str(exc))
            return f"; uploads in the browser are not possible: {exc}"
        return ", uploads in the browser switched" if changed else ""
