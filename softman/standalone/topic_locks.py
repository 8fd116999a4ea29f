"""Breaks the locks of a radosgw that is gone: ``python softman/standalone/topic_locks.py CEPH_CONF``.

radosgw holds a lock on the queue of each persistent topic, and renews it every 30 s for 90 s (16.2, ``rgw_notify.cc``).
One that crashed cannot give it up. The next waits until it is over and sends no notification meanwhile; without it,
the next begins 30 s after its start. Only for a cluster with one gateway that does not run at this moment.

The file is run as it is, so that it starts quickly: it needs nothing but the standard library.
"""

import json
import subprocess
import sys

_POOL = ("-p", "default.rgw.log", "-N", "notif")
_LIST = "queues_list_object"
_SECONDS = 10


def main(configuration: str) -> int:
    """Break all locks; when the cluster has no queues yet, or does not answer, nothing is done.

    Args:
        configuration: path of ``ceph.conf``.
    """

    def rados(*arguments: str) -> str:
        command = ["rados", "-c", configuration, *_POOL, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout

    try:
        for queue in set(rados("ls").split()) - {_LIST}:
            for lock in json.loads(rados("lock", "list", queue))["locks"]:
                for holder in json.loads(rados("lock", "info", queue, lock["name"]))["lockers"]:
                    rados("lock", "break", queue, lock["name"], holder["name"], "--lock-cookie", holder["cookie"])
                    print(f"topic_locks: the lock of {queue} is broken", flush=True)  # noqa: T201 - the server's log
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as exc:
        print(f"topic_locks: {exc}", flush=True)  # noqa: T201 - the server's log
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
