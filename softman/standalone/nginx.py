"""The web server that shows the repositories: Debian's nginx with a configuration of our own, unprivileged.

Caching follows what the official server tools configure: the files that change in place (``.cvmfs*``) must be
asked for again each time, objects below ``data/`` never change and may be kept for three days. Objects are sent as
stored, without a content encoding: clients hash what they receive. Staged objects (``data/txn``) are not shown.
"""

import os
import subprocess
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Server

_CONFIGURATION = """\
{user}
daemon off;
worker_processes 2;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
    client_body_temp_path {home}/body;
    fastcgi_temp_path {home}/fastcgi;
    proxy_temp_path {home}/proxy;
    scgi_temp_path {home}/scgi;
    uwsgi_temp_path {home}/uwsgi;
    client_max_body_size 1k;
    sendfile on;
    tcp_nopush on;
    gzip off;
    autoindex off;
    log_not_found off;
    server {{
        listen {address}:{port};
        root {root};
        location = / {{ add_header Content-Type text/plain; return 200 "softman repositories\\n"; }}
        location ~ "^/cvmfs/[^/]+/data/txn(/|$)" {{ return 404; }}
        location ~ "^/cvmfs/[^/]+/\\.cvmfs[^/]*$" {{ add_header Cache-Control "max-age=0, no-cache"; }}
        location ~ "^/cvmfs/[^/]+/data/" {{ add_header Cache-Control "max-age=259200"; }}
        location /cvmfs/ {{ add_header Cache-Control "no-cache"; }}
        location / {{ return 404; }}
    }}
}}
"""


class WebServer(Server):
    """nginx, serving the stack's ``cvmfs/`` directory under ``/cvmfs/``."""

    name = "nginx"
    port_names = ("http",)
    process_names = ("nginx",)

    @property
    def url(self) -> str:
        """Where the repositories are: the name of one follows after a slash."""
        return f"http://{LOOPBACK}:{self.facts.ports['http']}/cvmfs"

    @property
    def repositories(self) -> Path:
        """The directory it shows, one folder per repository."""
        return self.place.directory / "www" / "cvmfs"

    def prepare(self) -> None:
        """Write ``nginx.conf``; as root the workers stay root, since the directory is nobody else's to read."""
        self.repositories.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            home=self.home,
            address=LOOPBACK,
            port=self.facts.ports["http"],
            root=self.repositories.parent,
        )
        write_private(self.home / "nginx.conf", text)

    def launch(self) -> None:
        """Start it and wait for an answer."""
        self.spawn(
            "nginx",
            [require_program("nginx"), "-e", "stderr", "-p", str(self.home), "-c", str(self.home / "nginx.conf")],
        )
        self.wait(self._answers, "nginx answers")

    def version(self) -> str:
        """Such as ``1.22.1``."""
        out = subprocess.run([require_program("nginx"), "-v"], capture_output=True, text=True, check=True)
        return out.stderr.strip().rpartition("/")[2]

    def _answers(self) -> bool:
        address = f"http://{LOOPBACK}:{self.facts.ports['http']}/"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=2) as answer:
            return int(answer.status) == HTTPStatus.OK
