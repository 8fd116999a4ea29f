"""Policy texts of any kind: understood or refused with our error, and what was written is what is read."""

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.errors import InvalidInput
from softman.standalone.vault_standin.policy import Acl, Capability, Rule, parse_policy

_PIECES = st.sampled_from(["path", '"a/*"', '"+/b"', "{", "}", "[", "]", "=", ",", "capabilities", '"read"', "#", "\n"])
_SEGMENT = st.sampled_from(["a", "b", "ab", "+"])
_PATTERNS = st.builds(
    lambda parts, end: "/".join(parts) + end, st.lists(_SEGMENT, min_size=1, max_size=4), st.sampled_from(["", "/*"])
)
_GRANTS = st.frozensets(st.sampled_from([capability for capability in Capability if capability != Capability.DENY]))


@settings(derandomize=True)
@given(st.one_of(st.text(), st.lists(_PIECES).map(" ".join), st.lists(_PIECES).map(lambda parts: "{" + "".join(parts))))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        parse_policy(text)


@settings(derandomize=True)
@given(st.dictionaries(_PATTERNS, _GRANTS, max_size=5))
def test_both_notations_say_the_same(grants: dict[str, frozenset[Capability]]) -> None:
    rules = {pattern: [str(capability) for capability in sorted(granted)] for pattern, granted in grants.items()}
    hcl = "\n".join(
        f"path {json.dumps(name)} {{ capabilities = {json.dumps(list_)} }}" for name, list_ in rules.items()
    )
    tree = json.dumps({"path": {name: {"capabilities": list_} for name, list_ in rules.items()}})
    expected = {Rule(pattern, granted) for pattern, granted in grants.items()}
    assert set(parse_policy(hcl)) == set(parse_policy(tree)) == expected


@settings(derandomize=True)
@given(st.dictionaries(_PATTERNS, _GRANTS, max_size=5), st.lists(st.sampled_from("ab"), min_size=1, max_size=4))
def test_the_order_of_rules_never_matters(grants: dict[str, frozenset[Capability]], parts: list[str]) -> None:
    path = "/".join(parts)
    rules = [Rule(pattern, granted) for pattern, granted in grants.items()]
    assert Acl(rules).capabilities(path) == Acl(reversed(rules)).capabilities(path)
