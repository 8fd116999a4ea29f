"""Unit tests are cut off from the network and from the caller's environment."""

import os
import socket

import pytest


def test_no_unit_test_opens_a_socket() -> None:
    with socket.socket() as sock, pytest.raises(AssertionError, match="opens a socket to"):
        sock.connect(("127.0.0.1", 9))


def test_no_unit_test_sees_the_callers_settings() -> None:
    assert not [name for name in os.environ if name.startswith(("AWS_", "VAULT_", "SOFTMAN_S3"))]
