"""Copyable commands that put files into a bucket, for the programs people have. Pure.

They hold placeholders for the keys, which the dashboard does not have. All programs are told to use path addresses and
to leave out checksums that older object stores refuse.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

ACCESS_KEY: Final = "YOUR_ACCESS_KEY"
SECRET_KEY: Final = "YOUR_SECRET_KEY"  # noqa: S105 - a placeholder
PROFILE: Final = "softman"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one program does it.

    Attributes:
        key: names it in addresses.
        title: the program.
        text: when to choose it.
        setup: what is done once; empty when nothing is.
        upload: how a file ``my-file`` and a folder ``my-folder`` are put.
    """

    key: str
    title: str
    text: str
    setup: str
    upload: str


def recipes(bucket: str, endpoint: str, region: str) -> tuple[Recipe, ...]:
    """The commands for one bucket.

    Args:
        bucket: its name.
        endpoint: the object store as users reach it.
        region: its region.
    """
    return (
        _aws(bucket, endpoint, region),
        _rclone(bucket, endpoint, region),
        _s3cmd(bucket, endpoint, region),
        _boto3(bucket, endpoint, region),
    )


def _aws(bucket: str, endpoint: str, region: str) -> Recipe:
    def put(name: str, value: str) -> str:
        return f"aws configure set --profile {PROFILE} {name} {value}\n"

    return Recipe(
        "aws",
        "AWS CLI",
        "Usual and quick; links are followed, times and modes of files are not kept.",
        put("aws_access_key_id", ACCESS_KEY)
        + put("aws_secret_access_key", SECRET_KEY)
        + put("region", region)
        + put("s3.addressing_style", "path")
        + put("request_checksum_calculation", "when_required")
        + put("response_checksum_validation", "when_required"),
        f"aws --profile {PROFILE} --endpoint-url {endpoint} s3 cp my-file s3://{bucket}/cvmfs/\n"
        f"aws --profile {PROFILE} --endpoint-url {endpoint} s3 sync my-folder s3://{bucket}/cvmfs/my-folder\n",
    )


def _rclone(bucket: str, endpoint: str, region: str) -> Recipe:
    return Recipe(
        "rclone",
        "rclone",
        "Keeps times, modes and symbolic links; made for large folders.",
        f"rclone config create {PROFILE} s3 provider=Ceph endpoint={endpoint} region={region} \\\n"
        f"  access_key_id={ACCESS_KEY} secret_access_key={SECRET_KEY}\n",
        f"rclone copy my-file {PROFILE}:{bucket}/cvmfs/ --metadata\n"
        f"rclone copy my-folder {PROFILE}:{bucket}/cvmfs/my-folder --links --metadata --progress\n",
    )


def _s3cmd(bucket: str, endpoint: str, region: str) -> Recipe:
    parts = urlsplit(endpoint)
    secure = "True" if parts.scheme == "https" else "False"
    return Recipe(
        "s3cmd",
        "s3cmd",
        "Keeps times and modes.",
        f"cat > ~/.s3cfg-{PROFILE} <<'END'\n"
        "[default]\n"
        f"access_key = {ACCESS_KEY}\n"
        f"secret_key = {SECRET_KEY}\n"
        f"host_base = {parts.netloc}\n"
        f"host_bucket = {parts.netloc}\n"
        f"bucket_location = {region}\n"
        f"use_https = {secure}\n"
        "END\n"
        f"chmod 600 ~/.s3cfg-{PROFILE}\n",
        f"s3cmd -c ~/.s3cfg-{PROFILE} put my-file s3://{bucket}/cvmfs/\n"
        f"s3cmd -c ~/.s3cfg-{PROFILE} sync my-folder/ s3://{bucket}/cvmfs/my-folder/\n",
    )


def _boto3(bucket: str, endpoint: str, region: str) -> Recipe:
    return Recipe(
        "boto3",
        "Python (boto3)",
        "From your own programs.",
        "pip install boto3\n",
        f"""\
import boto3
from botocore.config import Config

s3 = boto3.client(
    "s3",
    endpoint_url="{endpoint}",
    region_name="{region}",
    aws_access_key_id="{ACCESS_KEY}",
    aws_secret_access_key="{SECRET_KEY}",
    config=Config(
        s3={{"addressing_style": "path"}},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)
s3.upload_file("my-file", "{bucket}", "cvmfs/my-file")
""",
    )
