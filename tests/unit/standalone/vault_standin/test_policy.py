"""Policies: what the text means, which rule wins, and what is refused."""

import pytest

from softman.errors import InvalidInput
from softman.standalone.vault_standin.policy import Acl, Capability, Rule, parse_policy

READ = frozenset({Capability.READ})


def _rules(text: str) -> dict[str, list[str]]:
    return {rule.pattern: sorted(map(str, rule.capabilities)) for rule in parse_policy(text)}


class TestParsing:
    def test_blocks_comments_and_commas(self) -> None:
        text = """
        # one
        path "a/*" { capabilities = ["read", "list",] } // two
        /* three
           path "never" { } */
        path "/b/+/c"{capabilities=["create"]}
        path "d" { }
        """
        assert _rules(text) == {"a/*": ["list", "read"], "b/+/c": ["create"], "d": []}

    def test_a_path_with_comment_signs_and_escapes(self) -> None:
        assert _rules('path "a//b#c/\\"d\\"" { capabilities = ["read"] }') == {'a//b#c/"d"': ["read"]}

    def test_json(self) -> None:
        text = '{"path": {"a/*": {"capabilities": ["read"]}, "b": {}}}'
        assert _rules(text) == {"a/*": ["read"], "b": []}

    @pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
    def test_nothing_grants_nothing(self, text: str) -> None:
        assert parse_policy(text) == ()

    def test_deny_leaves_nothing_else(self) -> None:
        assert _rules('path "a" { capabilities = ["read", "deny"] }') == {"a": ["deny"]}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('path "a" {', '"capabilities"'),
            ('path a { capabilities = ["read"] }', "a string in double quotes"),
            ('path "a" { capabilities = "read" }', r'"\["'),
            ('path "a" { capabilities = ["read" "list"] }', '","'),
            ('path "a" { capabilities = [read] }', "double quotes"),
            ('path "a" { capabilities = ["fly"] }', 'invalid capability "fly"'),
            ('path "a" { policy = "write" }', "policy found in line 1"),
            ('path "a" { capabilities = ["read"]\n allowed_parameters = {} }', "line 2"),
            ('name = "x"', '"path"'),
            ('\n\npath "a" ; {}', "unexpected character ';' in line 3"),
            ('path "a\nb" {}', "unexpected character"),
            ('path "a\\x" {}', "escapes"),
            ('path "a/+*" {}', "'\\+\\*' is forbidden"),
            ('path "{{identity.entity.id}}/*" {}', "templates are not supported"),
            ("{", "no valid JSON"),
            ('{"name": "x"}', "one key"),
            ('{"path": ["a"]}', "one key"),
            ('{"path": {"a": {"policy": "read"}}}', "only a list"),
            ('{"path": {"a": {"capabilities": "read"}}}', "only a list"),
            ('{"path": {"a": {"capabilities": [["read"]]}}}', "invalid capability"),
        ],
    )
    def test_the_rest_is_refused_with_a_reason(self, text: str, reason: str) -> None:
        with pytest.raises(InvalidInput, match=reason):
            parse_policy(text)


class TestMatching:
    @pytest.mark.parametrize(
        ("pattern", "path", "matches"),
        [
            ("a/b", "a/b", True),
            ("a/b", "a/b/c", False),
            ("a/b", "a", False),
            ("a/b*", "a/bcd/e", True),
            ("a/b/*", "a/b/c/d", True),
            ("a/b/*", "a/b/", True),
            ("a/b/*", "a/b", False),
            ("*", "anything/at/all", True),
            ("a/+/c", "a/b/c", True),
            ("a/+/c", "a/b/x/c", False),
            ("a/+/c", "a/b/c/d", False),
            ("a/+/c/*", "a/b/c/d/e", True),
            ("a/+/c/*", "a/b/c", False),
            ("a/+/c*", "a/b/cd/e", True),
            ("+/b", "a/b", True),
            ("+", "a", True),
            ("+", "a/b", False),
            ("a/+b", "a/xb", False),
            ("a/+b", "a/+b", True),
            ("a/*/c", "a/b/c", False),
        ],
    )
    def test_patterns(self, pattern: str, path: str, matches: bool) -> None:
        assert (Acl([Rule(pattern, READ)]).capabilities(path) == READ) is matches

    @pytest.mark.parametrize("pattern", ["a/b", "a/b/", "a/b/*", "a/*", "+/b", "a/+/"])
    def test_a_list_is_covered_with_and_without_the_slash(self, pattern: str) -> None:
        granted = frozenset({Capability.LIST})
        assert Acl([Rule(pattern, granted)]).allows("a/b/", Capability.LIST)

    @pytest.mark.parametrize(
        ("winner", "loser", "path"),
        [
            ("a/b/c", "a/b/*", "a/b/c"),
            ("a/b/c", "a/+/c", "a/b/c"),
            ("a/b/*", "a/*", "a/b/c"),
            ("a/b*", "a/+/c", "a/b/c"),
            ("a/b/+", "a/+/c", "a/b/c"),
            ("a/+", "a/*", "a/b"),
            ("a/+/c", "a/+/*", "a/b/c"),
            ("a/+/c", "a/+/c*", "a/b/c"),
            ("a/+/c/+", "a/+/+/+", "a/b/c/d"),
            ("a/+/c/d*", "a/+/c/*", "a/b/c/de"),
            ("a/*", "a/+/c*", "a/b/cd"),
            ("a/b/+/d", "a/+/c/d", "a/b/c/d"),
        ],
    )
    def test_which_rule_wins(self, winner: str, loser: str, path: str) -> None:
        for rules in ([winner, loser], [loser, winner]):
            acl = Acl(Rule(pattern, READ if pattern == winner else frozenset()) for pattern in rules)
            assert acl.capabilities(path) == READ

    def test_rules_for_one_pattern_add_up(self) -> None:
        acl = Acl([Rule("a/*", READ), Rule("a/*", frozenset({Capability.LIST}))])
        assert acl.capabilities("a/b") == {Capability.READ, Capability.LIST}

    def test_deny_beats_what_others_grant_for_the_pattern(self) -> None:
        for rules in ([READ, frozenset({Capability.DENY})], [frozenset({Capability.DENY}), READ]):
            assert Acl(Rule("a/*", granted) for granted in rules).capabilities("a/b") == frozenset()

    def test_a_more_specific_deny_closes_a_part(self) -> None:
        acl = Acl([Rule("a/*", READ), Rule("a/secret/*", frozenset({Capability.DENY}))])
        assert acl.allows("a/b", Capability.READ)
        assert not acl.allows("a/secret/b", Capability.READ)

    def test_no_rule_grants_nothing(self) -> None:
        assert Acl([]).capabilities("a") == frozenset()
