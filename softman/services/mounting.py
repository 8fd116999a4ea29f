"""What stock CVMFS clients need to mount a repository: configuration and public keys, alone or packed together. Pure.

Places and parameters are those of the CernVM-FS documentation, "Client Configuration": ``config.d/<repository>.conf``
is read after everything that is said of all repositories and of the domain, so that it stands beside any other
configuration of the host. Nothing is assumed of proxies: these belong to the host (``default.local``).
"""

import gzip
import io
import tarfile
from dataclasses import dataclass
from typing import Final

from softman.names import RepositoryName

ETC: Final = "etc/cvmfs"
_TIME: Final = 946_684_800
"""Of every file in a bundle, 2000-01-01: the same repository gives the same bytes at any time."""
_FILE_MODE: Final = 0o644

_README: Final = """\
How to mount {name}
{line}

1. Install the CernVM-FS client: https://cvmfs.readthedocs.io/en/stable/cpt-quickstart.html
2. Unpack the configuration, as root:

       tar -xzf {bundle} -C / --no-same-owner etc

3. When this computer has no CVMFS yet: say how it reaches the network. A single computer:

       echo CVMFS_CLIENT_PROFILE=single >> /etc/cvmfs/default.local

   On a cluster name its web proxy instead: CVMFS_HTTP_PROXY=http://proxy.example.org:3128
   Then run "cvmfs_config setup" once.
4. Look:

       ls /cvmfs/{name}

What is in here
---------------
{configuration}
    where the repository is, and which key it has to be signed with
{keys}
    the public key; it is no secret

New files are seen within {ttl} seconds. Whoever has an earlier bundle and is told that signatures are wrong: the
repository has got a new key; download the bundle again.
"""


@dataclass(frozen=True, slots=True)
class Mounting:
    """How clients mount one repository.

    Attributes:
        name: the repository.
        url: where it is read.
        keys: the public keys, PEM, of which one has to have signed it: the one in use first.
        ttl: seconds after which clients look for what is new.
    """

    name: RepositoryName
    url: str
    keys: tuple[bytes, ...]
    ttl: int = 60

    @property
    def bundle_name(self) -> str:
        """The file name of the bundle."""
        return f"{self.name}-cvmfs.tar.gz"

    @property
    def key_files(self) -> dict[str, bytes]:
        """The public keys by their path below ``/``."""
        folder = f"{ETC}/keys/{self.name.domain}"
        names = [f"{self.name}{'' if at == 0 else f'.next{at}'}.pub" for at in range(len(self.keys))]
        return {f"{folder}/{name}": key for name, key in zip(names, self.keys, strict=True)}

    @property
    def configuration_file(self) -> str:
        """The path of the configuration below ``/``."""
        return f"{ETC}/config.d/{self.name}.conf"

    def configuration(self, folder: str = "") -> str:
        """The configuration: lines of shell, as clients read it.

        Args:
            folder: where the keys are instead of their usual place.
        """
        keys = [f"/{path}" if not folder else f"{folder}/{path.rpartition('/')[2]}" for path in self.key_files]
        return (
            f"CVMFS_SERVER_URL='{self.url}'\n"
            f"CVMFS_PUBLIC_KEY='{':'.join(keys)}'\n"
            "CVMFS_USE_GEOAPI=no\n"  # there is one server, and it has no such service
        )

    def bundle(self) -> bytes:
        """Configuration, keys and a README as ``.tar.gz``, to be unpacked at ``/``; the same bytes each time."""
        files = {
            "README.txt": self._readme().encode(),
            self.configuration_file: self.configuration().encode(),
            **self.key_files,
        }
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path, content in sorted(files.items()):
                member = tarfile.TarInfo(path)
                member.size, member.mtime, member.mode = len(content), _TIME, _FILE_MODE
                archive.addfile(member, io.BytesIO(content))
        return gzip.compress(packed.getvalue(), mtime=0)

    def _readme(self) -> str:
        return _README.format(
            name=self.name,
            line="=" * len(f"How to mount {self.name}"),
            bundle=self.bundle_name,
            configuration=self.configuration_file,
            keys="\n".join(self.key_files),
            ttl=self.ttl,
        )
