"""What a message may look like before any task sees it."""

from typing import Any

import pytest
from celery.exceptions import InvalidTaskError

from workers.consumer import check_payload

ALL = ("callbacks", "errbacks", "chord", "chain")


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "text",
        {"task": "softman.commit", "args": []},
        [[], {}],
        [[], {}, {}, {}],
        [{}, {}, {}],
        [[], [], {}],
        [[], {}, "x"],
        [None, {}, {}],
    ],
)
def test_only_protocol_2_is_understood(payload: Any) -> None:
    with pytest.raises(InvalidTaskError, match="protocol 2"):
        check_payload(payload, ALL)


@pytest.mark.parametrize("part", ALL)
def test_embedded_work_is_refused_by_name(part: str) -> None:
    with pytest.raises(InvalidTaskError, match=f"carries {part}"):
        check_payload([[], {}, {part: [{"task": "softman.provision"}]}], ALL)


def test_a_link_may_carry_its_chain() -> None:
    check_payload([["a"], {}, {"chain": [{"task": "softman.publish_keys"}]}], ALL[:3])


@pytest.mark.parametrize("embedded", [None, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
def test_what_carries_nothing_passes(embedded: Any) -> None:
    check_payload([["a"], {}, embedded], ALL)
