"""Pool ``connector``: connects buckets, with the one credential that may write to the object store (decision 3)."""

from softman import wiring
from softman.model import Link, RetirementLink
from softman.names import RepositoryName
from softman.tasks.catalogue import CONNECT_BUCKET, CONNECTOR, DISCONNECT_BUCKET
from workers.base import settings, task
from workers.pool import WorkerApp


@task(CONNECT_BUCKET, link=Link.CONNECT_BUCKET, chained=True, retries=30, keep_result=True)
def connect_bucket(repository: RepositoryName) -> str:
    """The bucket exists, belongs to its owner and notifies us."""
    return wiring.connector(settings()).connect(repository)


@task(DISCONNECT_BUCKET, link=RetirementLink.DISCONNECT_BUCKET, chained=True, retries=30)
def disconnect_bucket(repository: RepositoryName) -> str:
    """Let go of the bucket of a retired repository."""
    return wiring.connector(settings()).disconnect(repository)


app = WorkerApp(CONNECTOR)
