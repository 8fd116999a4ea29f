"""Less arithmetic with RSA keys than their users do who meet each key once."""

from functools import cache

from softman.cvmfs.format import keys, signature


def check_private_keys_once() -> None:
    """Look only once whether the numbers of a private key belong together: that takes a tenth of a second each time.

    Tests make hundreds of repositories with the same keys.
    """
    keys.load_private_key = cache(signature.load_private_key)  # type: ignore[attr-defined]  # where it is used
