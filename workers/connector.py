"""Pool ``connector``: connects buckets, with the one credential that may write to the object store (decision 3)."""

from softman import wiring
from softman.model import Link
from softman.names import RepositoryName
from softman.tasks.catalogue import CONNECT_BUCKET, CONNECTOR
from workers.base import settings, task
from workers.pool import WorkerApp


@task(CONNECT_BUCKET, link=Link.CONNECT_BUCKET, chained=True, retries=30, keep_result=True)
def connect_bucket(repository: RepositoryName) -> str:
    """The bucket exists, belongs to its owner and notifies us."""
    return wiring.connector(settings()).connect(repository)


app = WorkerApp(CONNECTOR)
