"""Our own repository gateway: who may write what, who has which path, and what becomes of what they send.

``leases`` keeps the paths apart, ``access`` knows the keys, ``gateway`` does what requests ask for. HTTP is
``softman.gateway``'s business. See ``docs/gateway.md``.
"""
