"""Which addresses may be spoken to, and what is said when a certificate is refused."""

from pathlib import Path
from typing import Any

import pytest

from softman.errors import InvalidInput
from softman.settings import load_settings
from softman.tasks.config import celery_settings
from softman.transport import certificate_problem, plain_text_host, weakens_tls


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("amqp://u:p@broker//", "broker"),
        ("amqps://u:p@broker//", ""),
        ("amqp://localhost//;pyamqp://10.0.0.7//", "10.0.0.7"),
        ("amqp://", ""),
        ("redis://:p@[::1]:1/0", ""),
        ("redis://127.9.9.9/0", ""),
        ("redis://localhost.evil.example/0", "localhost.evil.example"),
        ("redis://127.0.0.1.evil.example/0", "127.0.0.1.evil.example"),
        ("rediss://cache/0", ""),
        ("HTTP://Host/x", "host"),
        ("https://host/x", ""),
        ("unix:///run/redis.sock", ""),
        ("", ""),
    ],
)
def test_plain_text_stays_on_this_host(url: str, host: str) -> None:
    assert plain_text_host(url) == host


@pytest.mark.parametrize(
    "values",
    [
        {"broker_url": "amqp://u:hush@far//"},
        {"redis_url": "redis://:hush@far/0"},
        {"s3": {"endpoint": "http://far:1"}},
        {"s3": {"push_endpoint": "amqp://rgw:hush@far"}},
        {"cvmfs": {"url": "http://far/cvmfs"}},
        {"cvmfs": {"s3": {"endpoint": "http://far:1"}}},
        {"vault": {"address": "http://far:1"}},
    ],
)
def test_each_address_is_refused_in_plain_text_unless_it_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="leads to far in plain text: use TLS") as refused:
        load_settings(**values)
    assert "hush" not in str(refused.value)
    name = str(refused.value).partition(" leads")[0].rpartition(" ")[2]
    settings = load_settings(**values, tls={"allow_plaintext": (name,)})
    assert settings.in_plain_text == {name: "far"}
    with pytest.raises(InvalidInput, match="leads to far"):
        load_settings(**values, tls={"allow_plaintext": ("cvmfs.url" if name != "cvmfs.url" else "broker_url",)})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tls": {"allow_plaintext": ("everything",)}}, "names everything; addresses are broker_url,"),
        ({"redis_url": "rediss://:hush@far/0?ssl_cert_reqs=none"}, "redis_url has options of TLS"),
        ({"broker_url": "amqps://u:hush@far//?SSL=0"}, "broker_url has options of TLS"),
        ({"broker_url": "amqps://u:hush@a//;amqps://u:hush@b//"}, "names several hosts with TLS"),
        ({"tls": {"ca_file": "/nowhere.pem"}}, "/nowhere.pem is no file"),
    ],
)
def test_what_would_weaken_tls_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        load_settings(**values)
    assert "hush" not in str(refused.value)


def test_one_authority_serves_all_and_sections_may_have_their_own(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    ours.touch()
    theirs.touch()
    settings = load_settings(tls={"ca_file": ours}, vault={"ca_file": theirs})
    assert (settings.s3.ca_file, settings.cvmfs.s3.ca_file, settings.vault.ca_file) == (ours, ours, theirs)
    assert load_settings(s3={"ca_file": theirs}).cvmfs.s3.ca_file == theirs
    assert load_settings().vault.ca_file is None


def test_celery_verifies_certificate_and_name(tmp_path: Path) -> None:
    ours = tmp_path / "ours.pem"
    ours.touch()
    settings = load_settings(broker_url="amqps://far//", redis_url="rediss://far/0", tls={"ca_file": ours})
    conf = celery_settings(settings)
    assert conf["broker_use_ssl"] == {
        "context": {"check_hostname": True, "cafile": str(ours)},
        "server_hostname": "far",
    }
    assert conf["redis_backend_use_ssl"]["ssl_check_hostname"] is True
    plain = celery_settings(load_settings())
    assert not {"broker_use_ssl", "redis_backend_use_ssl"} & set(plain)


def test_options_in_urls_are_found_in_any_of_several_addresses() -> None:
    assert weakens_tls("amqp://a//;amqp://b//?ssl_verify=0")
    assert not weakens_tls("amqp://a//?heartbeat=30")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)",
            "the certificate of the server is refused: certificate has expired",
        ),
        (
            "Error 1 connecting to cache.example:6380. [SSL: X] certificate verify failed: self-signed (_ssl.c:1).",
            "the certificate of cache.example:6380 is refused: self-signed",
        ),
        (
            "Pool(host='vault', port=1): (\"certificate verify failed: Hostname mismatch for 'v'. (_ssl.c:1)\")",
            "the certificate of vault is refused: Hostname mismatch for 'v'.",
        ),
        (
            "SSL validation failed for https://s3:1/bucket?acl hostname 's3' doesn't match 'other'",
            "the certificate of https://s3:1 is refused: hostname 's3' doesn't match 'other'",
        ),
        ("connection refused", ""),
    ],
)
def test_the_reason_of_a_refusal_is_found(text: str, said: str) -> None:
    assert certificate_problem(OSError(text)) == said
