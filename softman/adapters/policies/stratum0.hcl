# AppRole stratum0: the one process that creates repositories and signs.

# Registry and signing keys are its own.
path "softman/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# It hands keys to their owners, and reads them back to verify. It deletes nothing that belongs to an owner.
path "secrets/data/+/cvmfs_keys/*" {
  capabilities = ["create", "read", "update"]
}

path "secrets/data/groups/+/cvmfs_keys/*" {
  capabilities = ["create", "read", "update"]
}
