"""Publishing from directories and tar archives: streamed, in bounded memory, on all cores.

::

    with Workers(processes=True) as workers, open_source(Path("/opt/software")) as source:
        publication = publish(repository, source, workers)
"""

from softman.cvmfs.ingest.items import IngestOptions, IngestReport, Refusal, Source
from softman.cvmfs.ingest.publish import Publication, publish
from softman.cvmfs.ingest.run import Ingest
from softman.cvmfs.ingest.sources import open_source
from softman.cvmfs.ingest.workers import Workers

__all__ = [
    "Ingest",
    "IngestOptions",
    "IngestReport",
    "Publication",
    "Refusal",
    "Source",
    "Workers",
    "open_source",
    "publish",
]
