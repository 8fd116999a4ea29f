# AppRole stratum0: the one process that creates repositories and signs.

# Signing keys and master keys: it makes, reads and replaces them, and destroys replaced ones for good.
path "softman/data/signing/*" {
  capabilities = ["create", "read", "update"]
}

path "softman/data/signing-masters/*" {
  capabilities = ["create", "read", "update"]
}

path "softman/destroy/signing/*" {
  capabilities = ["create", "update"]
}

path "softman/destroy/signing-masters/*" {
  capabilities = ["create", "update"]
}

# The registry, and what everybody of softman may know of a repository.
path "softman/data/repositories/*" {
  capabilities = ["create", "read", "update"]
}

path "softman/metadata/repositories/*" {
  capabilities = ["list"]
}

path "softman/data/public/*" {
  capabilities = ["create", "read", "update"]
}

# It hands keys to their owners, and reads them back to verify. It deletes nothing that belongs to an owner.
path "secrets/data/+/cvmfs_keys/*" {
  capabilities = ["create", "read", "update"]
}

path "secrets/data/groups/+/cvmfs_keys/*" {
  capabilities = ["create", "read", "update"]
}
