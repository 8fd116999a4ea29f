"""A STAND-IN for the HTTP API of HashiCorp Vault and OpenBao, for development and tests. It protects nothing.

The embedded stack starts this one when neither ``bao`` nor ``vault`` is on the PATH. softman talks to it with hvac over
HTTP exactly as to the real server, and the contract suite in ``tests/contract/vault`` runs against both. Wrapping, the
login of users, identities and namespaces are tested on the real server alone. There is no encryption, no TLS, no audit
log, no cluster.

Command line::

    python -m softman.standalone.vault_standin --port 0|N [--state FILE] [--root-token-file FILE]
                                               [--unseal-key-file FILE] [--ready-file FILE]

``--port``
    Port on 127.0.0.1, never another address; 0 takes a free one. ``SO_REUSEADDR`` is set, so a restart on the same port
    works at once.
``--state``
    Where everything is kept (JSON, mode 0600, replaced by rename after every change, so ``kill -9`` and a restart lose
    nothing). Without it the state lives in memory.
``--root-token-file``
    When the file holds a token, that is the root token; otherwise a new one is made and written there with mode 0600.
    Keep the file beside the state, and the same token serves after a restart.
``--unseal-key-file``
    Where the one unseal key is written (0600). The server starts unsealed, as dev mode does.
``--ready-file``
    Where the ready line is also written, by rename, once the server answers.

When it answers, one line goes to standard output::

    vault-standin ready http://127.0.0.1:PORT

``SIGTERM`` and ``SIGINT`` stop it with exit code 0; a port that is taken or a state file that cannot be read gives 1
and a reason on standard error; a wrong command line gives 2.

What it answers, with Vault's status codes and bodies (``{"errors": [...]}``):

* ``sys/``: health, seal-status, seal, unseal, init (read), mounts, auth, policies/acl, policy, capabilities-self;
* KV version 2: config, data with check-and-set, metadata, list, delete, undelete, destroy;
* AppRole: roles, role-id, secret-id (also custom, lookup, destroy, accessors), login;
* tokens: create, lookup, lookup-self, renew-self, revoke, revoke-self, expiry by time and by number of uses.

What it does not know it refuses with 400, 404 or 405 rather than pretend.
"""
