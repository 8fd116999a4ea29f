"""The embedded stack: real servers from Debian's packages on free loopback ports, in one private directory.

One implementation serves ``softman up``, the demo and the test fixtures. ``stack`` is the door; one module per server
beside it. Nothing here is for production sites: the object store keeps its data in memory, for as long as it runs.
"""
