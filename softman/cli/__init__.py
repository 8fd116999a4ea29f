"""The command ``softman``: one module per group of commands, ``main`` puts them together.

The command line asks and shows; it does no work on repositories itself. Exit codes are in ``exitcodes``.
"""
