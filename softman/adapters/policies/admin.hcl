# AppRole admin: looks at everything but secrets, and ends credentials. It makes no credential and writes no policy,
# since either would be a way to everything else.

path "softman/data/repositories/*" {
  capabilities = ["read"]
}

path "softman/data/public/*" {
  capabilities = ["read"]
}

# When keys were made and replaced, and by how many versions; not what they are.
path "softman/metadata/*" {
  capabilities = ["read", "list"]
}

path "secrets/metadata/+/cvmfs_keys/*" {
  capabilities = ["read", "list"]
}

path "secrets/metadata/groups/+/cvmfs_keys/*" {
  capabilities = ["read", "list"]
}

path "softman/data/signing/*" {
  capabilities = ["deny"]
}

path "softman/data/signing-masters/*" {
  capabilities = ["deny"]
}

# The secret ids of our own AppRoles, by their accessors: how many there are, since when, and away with one.
path "auth/approle/role/stratum0/secret-id" {
  capabilities = ["list"]
}

path "auth/approle/role/stratum0/secret-id-accessor/lookup" {
  capabilities = ["create", "update"]
}

path "auth/approle/role/stratum0/secret-id-accessor/destroy" {
  capabilities = ["create", "update"]
}

path "auth/approle/role/publisher/secret-id" {
  capabilities = ["list"]
}

path "auth/approle/role/publisher/secret-id-accessor/lookup" {
  capabilities = ["create", "update"]
}

path "auth/approle/role/publisher/secret-id-accessor/destroy" {
  capabilities = ["create", "update"]
}

path "auth/approle/role/dashboard/secret-id" {
  capabilities = ["list"]
}

path "auth/approle/role/dashboard/secret-id-accessor/lookup" {
  capabilities = ["create", "update"]
}

path "auth/approle/role/dashboard/secret-id-accessor/destroy" {
  capabilities = ["create", "update"]
}
