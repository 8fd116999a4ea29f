"""The repository gateway as a web service: HTTP in front of ``softman.services.gateway``.

``app`` is the API that stock publishers speak, ``main`` serves it. See ``docs/gateway.md``.
"""
