"""Copyable steps to mount a repository, by where somebody works. Pure.

Sources: the CernVM-FS documentation ("Getting Started", "Client Configuration", "Container Images and CernVM-FS"), the
documentation of CVMFS CSI ("How to use", 2.x) and the README of cvmfsexec.
"""

import base64
import textwrap
from dataclasses import dataclass

from softman.services.mounting import Mounting

_RELEASE = "https://cvmrepo.s3.cern.ch/cvmrepo"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what is done, and what to type; the commands may be empty."""

    title: str
    text: str = ""
    commands: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    """The steps for one place.

    Attributes:
        key: names it in addresses.
        title: the place.
        text: who it is for.
        steps: in their order.
    """

    key: str
    title: str
    text: str
    steps: tuple[Step, ...]


def guides(mounting: Mounting) -> tuple[Guide, ...]:
    """All of them, the most usual first."""
    return (
        _linux(mounting),
        _containers(mounting),
        _kubernetes(mounting),
        _apptainer(mounting),
        _without_root(mounting),
        _cluster(mounting),
    )


def written(mounting: Mounting, folder: str = "") -> str:
    """Commands that write configuration and keys, below ``folder``; with none as root to ``/``."""
    sudo, root = ("", folder) if folder else ("sudo ", "")
    files = {
        **mounting.key_files,
        mounting.configuration_file: mounting.configuration(_keys(mounting, folder)).encode(),
    }
    folders = sorted({f"{root}/{path.rpartition('/')[0]}" for path in files})
    lines = [f"{sudo}mkdir -p {' '.join(folders)}"]
    for path, content in files.items():
        lines += [f"{sudo}tee {root}/{path} >/dev/null <<'END'", content.decode().rstrip("\n"), "END"]
    return "\n".join(lines) + "\n"


def _keys(mounting: Mounting, folder: str) -> str:
    return f"{folder}/etc/cvmfs/keys/{mounting.name.domain}" if folder else ""


def _linux(mounting: Mounting) -> Guide:
    name = mounting.name
    return Guide(
        "linux",
        "Linux",
        "Your own computer or a virtual machine, with root.",
        (
            Step(
                "Install the CernVM-FS client, once",
                "On AlmaLinux, Rocky, RHEL and CentOS use the second block instead of the first.",
                f"# Debian, Ubuntu\nwget {_RELEASE}/apt/cvmfs-release-latest_all.deb\n"
                "sudo dpkg -i cvmfs-release-latest_all.deb\nsudo apt-get update\nsudo apt-get install -y cvmfs\n\n"
                f"# RHEL and relatives\nsudo dnf install -y {_RELEASE}/yum/cvmfs-release-latest.noarch.rpm\n"
                "sudo dnf install -y cvmfs\n",
            ),
            Step(
                "Say where the repository is, and with which key it is signed",
                "One file of configuration and the public key. The bundle on this page holds the same.",
                written(mounting),
            ),
            Step(
                "Set the client up, once",
                "On a single computer it reads directly. On a cluster name its web proxy instead: "
                "CVMFS_HTTP_PROXY=http://proxy.example.org:3128",
                "grep -qs -e CVMFS_CLIENT_PROFILE -e CVMFS_HTTP_PROXY /etc/cvmfs/default.local || \\\n"
                "  echo CVMFS_CLIENT_PROFILE=single | sudo tee -a /etc/cvmfs/default.local\n"
                "sudo cvmfs_config setup\n",
            ),
            Step("Look", "It is mounted when somebody looks, and let go when nobody does.", f"ls /cvmfs/{name}\n"),
        ),
    )


def _containers(mounting: Mounting) -> Guide:
    name = mounting.name
    return Guide(
        "containers",
        "Podman and Docker",
        "Containers on a computer that has the repository mounted (see Linux).",
        (
            Step(
                "Start a container with it",
                "Mounted before, since a single repository is bound as it is. Containers share the computer's cache.",
                f"ls /cvmfs/{name}\n"
                f"podman run --rm -it -v /cvmfs/{name}:/cvmfs/{name}:ro ubuntu ls /cvmfs/{name}\n"
                f"docker run --rm -it -v /cvmfs/{name}:/cvmfs/{name}:ro ubuntu ls /cvmfs/{name}\n",
            ),
            Step(
                "Or with all of /cvmfs",
                "Then other repositories are mounted when the container looks for them.",
                f"docker run --rm -it -v /cvmfs:/cvmfs:shared ubuntu ls /cvmfs/{name}\n",
            ),
        ),
    )


def _kubernetes(mounting: Mounting) -> Guide:
    name = str(mounting.name)
    claim = name.replace(".", "-")
    return Guide(
        "kubernetes",
        "Kubernetes",
        "With the driver CVMFS CSI; the first two steps are an administrator's.",
        (
            Step(
                "Install the driver with this repository's configuration",
                "Where the driver runs already, add the two entries to its ConfigMap cvmfs-csi-config-d instead.",
                "cat > cvmfs-values.yaml <<'END'\n" + helm_values(mounting) + "END\n"
                "helm upgrade --install cvmfs oci://registry.cern.ch/kubernetes/charts/cvmfs-csi \\\n"
                "  --namespace cvmfs --create-namespace --values cvmfs-values.yaml\n",
            ),
            Step(
                "Make a volume claim, once per namespace",
                "",
                "kubectl apply -f - <<'END'\n" + volume_claim(name, claim) + "END\n",
            ),
            Step(
                "Use it in pods",
                "",
                "kubectl apply -f - <<'END'\n" + pod(name, claim) + f"END\nkubectl logs -f {claim}\n",
            ),
        ),
    )


def helm_values(mounting: Mounting) -> str:
    """Values for the chart of CVMFS CSI, YAML. Its default.local names a proxy that is not ours, so we name one."""
    proxy = "# the cluster's web proxy, where it has one: http://proxy.example.org:3128\nCVMFS_HTTP_PROXY=DIRECT\n"
    configuration = mounting.configuration("/etc/cvmfs/config.d") + proxy
    entries = {f"{mounting.name}.conf": configuration.encode()}
    entries |= {path.rpartition("/")[2]: content for path, content in mounting.key_files.items()}
    lines = ["extraConfigMaps:", "  cvmfs-csi-config-d:"]
    for file, content in entries.items():
        lines += [f"    {file}: |", textwrap.indent(content.decode().rstrip("\n"), "      ")]
    return "\n".join(lines) + "\n"


def volume_claim(name: str, claim: str) -> str:
    """A storage class for one repository and a claim of it, YAML."""
    return f"""\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {claim}
provisioner: cvmfs.csi.cern.ch
parameters:
  repository: {name}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {claim}
spec:
  accessModes: [ReadOnlyMany]
  storageClassName: {claim}
  resources:
    requests:
      storage: 1  # has to be there, says nothing
"""


def pod(name: str, claim: str) -> str:
    """A pod that lists the repository, YAML."""
    return f"""\
apiVersion: v1
kind: Pod
metadata:
  name: {claim}
spec:
  restartPolicy: Never
  containers:
    - name: look
      image: busybox
      command: [ls, -l, /cvmfs/{name}]
      volumeMounts:
        - name: software
          mountPath: /cvmfs/{name}
          readOnly: true
  volumes:
    - name: software
      persistentVolumeClaim:
        claimName: {claim}
        readOnly: true
"""


def _apptainer(mounting: Mounting) -> Guide:
    name = mounting.name
    return Guide(
        "apptainer",
        "Apptainer",
        "Clusters and HPC.",
        (
            Step(
                "Where /cvmfs is mounted on the computer",
                "Bind it into the container.",
                f"apptainer exec --bind /cvmfs docker://ubuntu ls /cvmfs/{name}\n",
            ),
            Step(
                "Where it is not",
                "Mount it for yourself (see Without root), and start the container in there.",
                f"./cvmfsexec {name} -- apptainer exec --bind /cvmfs docker://ubuntu ls /cvmfs/{name}\n",
            ),
        ),
    )


def _without_root(mounting: Mounting) -> Guide:
    name = mounting.name
    return Guide(
        "rootless",
        "Without root",
        "A computer that you may not change: with unprivileged user name spaces, as on RHEL 8, Debian 11 and later.",
        (
            Step(
                "Fetch cvmfsexec, once",
                "It brings the client with it. Needs git and rpm2cpio.",
                "git clone https://github.com/cvmfs/cvmfsexec\ncd cvmfsexec\n./makedist default\n",
            ),
            Step(
                "Add this repository",
                "In the folder cvmfsexec.",
                written_to_dist(mounting)
                + "grep -qs -e CVMFS_CLIENT_PROFILE -e CVMFS_HTTP_PROXY dist/etc/cvmfs/default.local || \\\n"
                "  echo CVMFS_CLIENT_PROFILE=single >> dist/etc/cvmfs/default.local\n",
            ),
            Step(
                "Look",
                "A shell in which it is mounted; it is gone with the shell.",
                f"./cvmfsexec {name} -- ls /cvmfs/{name}\n",
            ),
        ),
    )


def written_to_dist(mounting: Mounting) -> str:
    """Commands that put configuration and keys into the distribution of cvmfsexec, in whose folder they are run."""
    bundle = base64.b64encode(mounting.bundle()).decode()
    return f"base64 -d <<'END' | tar -xz -C dist etc\n{textwrap.fill(bundle, 100)}\nEND\n"


def _cluster(mounting: Mounting) -> Guide:
    bundle = mounting.bundle_name
    return Guide(
        "cluster",
        "Clusters and grid sites",
        "For administrators: every node gets the same two files; jobs find the repository below /cvmfs.",
        (
            Step(
                "Put the bundle on every node",
                "It holds nothing that differs between nodes, and says nothing of proxies: these stay as they are in "
                "default.local. Your configuration management can use the single files, too.",
                f"sudo tar -xzf {bundle} -C / --no-same-owner etc\nsudo cvmfs_config reload\n",
            ),
            Step("Test", "", f"cvmfs_config probe {mounting.name}\ncvmfs_config stat -v {mounting.name}\n"),
        ),
    )
