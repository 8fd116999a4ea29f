"""Extended attributes: there and back; and whatever bytes come, only our error."""

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.xattrs import decode, encode

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name)


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=255), max_size=20))
def test_there_and_back(attributes: dict[bytes, bytes]) -> None:
    assert decode(encode(attributes)) == attributes


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.binary(max_size=40).map(lambda rest: b"\1" + rest) | st.binary(max_size=20))
def test_malformed_blobs(blob: bytes) -> None:
    try:
        attributes = decode(blob)
    except FormatError:
        return
    assert len(attributes) == blob[1]
