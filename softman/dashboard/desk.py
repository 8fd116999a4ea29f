"""The desk: everything that pages and API read and ask for, with the rights of the person who asks.

It asks for work and reads; it does none itself. What a person may not see is not there for them (``NotFound``). When a
part of softman is away, answers hold what is known, how old it is, and what is missing.
"""

from softman.dashboard.desk_admin import AdminDesk
from softman.dashboard.desk_changing import ChangingDesk
from softman.dashboard.desk_reading import ReadingDesk
from softman.dashboard.desk_uploading import UploadingDesk


class Desk(ReadingDesk, ChangingDesk, UploadingDesk, AdminDesk):
    """Every question and every wish; the person comes first in each."""
