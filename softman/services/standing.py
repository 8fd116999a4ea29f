"""Which rules a repository follows: noted at its root, so that a change of configuration leads to a full difference.

The root has the attribute ``RULES_XATTR`` when the rules are not the usual ones: their fingerprint, and the depth of
catalogs when softman made a ``.cvmfsdirtab`` for it. It is written at the end of a full difference: one that is cut
is not taken for done, and goes on under the same rules only.
"""

from typing import Final

from softman.cvmfs.format.entry import Entry
from softman.cvmfs.transaction import Transaction
from softman.services.mapping import RULES_XATTR, Rules

_DIRTAB: Final = b"/.cvmfsdirtab"
_HEADER: Final = b"# Made by softman: catalogs.depth in .softman.toml\n"


class Standing:
    """Compares the rules with those that a repository follows.

    Args:
        transaction: the next revision in the making.
        rules: those that it shall follow.
        now: Unix time, seconds.
    """

    def __init__(self, transaction: Transaction, rules: Rules, now: int) -> None:
        self._transaction = transaction
        self._now = now
        self._depth = rules.configuration.catalog_depth
        self._wanted = rules_note(rules)
        root = transaction.lookup(b"")
        self._attributes = {} if root is None else dict(root.xattrs)

    @property
    def is_current(self) -> bool:
        """Whether all of the repository follows the rules."""
        return self._attributes.get(RULES_XATTR, b"") == self._wanted

    def prepare(self) -> None:
        """Let new directories have catalogs as the rules want it."""
        had_depth = self._attributes.get(RULES_XATTR, b"").partition(b" ")[2]
        entry = self._transaction.lookup(_DIRTAB)
        if self._depth:
            content = _HEADER + b"".join(b"/*" * (level + 1) + b"\n" for level in range(self._depth))
            if entry is None or entry.size != len(content):
                self._transaction.set_dirtab(content, self._now)
        elif had_depth and entry is not None:
            self._transaction.remove(_DIRTAB)

    def finish(self) -> None:
        """Note that all of the repository follows the rules."""
        if not self.is_current:
            kept = {name: value for name, value in self._attributes.items() if name != RULES_XATTR}
            self._transaction.set_xattrs(b"", {**kept, RULES_XATTR: self._wanted} if self._wanted else kept)


def follows(root: Entry, rules: Rules) -> bool:
    """Whether the repository with this root follows the rules."""
    return root.xattrs.get(RULES_XATTR, b"") == rules_note(rules)


def rules_note(rules: Rules) -> bytes:
    """The value of ``RULES_XATTR``; empty for the usual rules."""
    depth = rules.configuration.catalog_depth
    return rules.fingerprint + (b" %d" % depth if depth else b"")
