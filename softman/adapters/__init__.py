"""The outside, one vendor library per module, behind the protocols of ``ports``."""
