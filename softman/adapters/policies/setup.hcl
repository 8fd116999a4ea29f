# What "softman vault setup" needs, for a token that is made for it and revoked afterwards. Whoever holds such a token
# can write policies and make secret ids, hence reach everything: no AppRole of softman has these rights.

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/mounts/secrets" {
  capabilities = ["create", "update"]
}

path "sys/mounts/softman" {
  capabilities = ["create", "update"]
}

path "secrets/config" {
  capabilities = ["read"]
}

path "softman/config" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "sys/auth/approle" {
  capabilities = ["create", "update", "sudo"]
}

path "sys/auth/jwt" {
  capabilities = ["create", "update", "sudo"]
}

path "sys/policies/acl/softman-*" {
  capabilities = ["create", "read", "update"]
}

path "auth/approle/role/stratum0*" {
  capabilities = ["create", "read", "update", "list"]
}

path "auth/approle/role/publisher*" {
  capabilities = ["create", "read", "update", "list"]
}

path "auth/approle/role/dashboard*" {
  capabilities = ["create", "read", "update", "list"]
}

path "auth/approle/role/admin*" {
  capabilities = ["create", "read", "update", "list"]
}

# Users and groups; only when vault.users is set.
path "auth/jwt/config" {
  capabilities = ["create", "read", "update"]
}

path "auth/jwt/role/softman-user" {
  capabilities = ["create", "read", "update"]
}

path "secrets/metadata/groups/" {
  capabilities = ["list"]
}

path "identity/group/name/softman-group-*" {
  capabilities = ["create", "read", "update"]
}

path "identity/group-alias" {
  capabilities = ["create", "update"]
}
