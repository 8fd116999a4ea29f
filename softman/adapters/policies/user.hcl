# Role softman-user of the JWT auth method: users read their own keys with the token of their OpenID Connect login.
# ACCESSOR is the accessor of that method; the name of an alias there is the subject of the login.

path "secrets/data/{{identity.entity.aliases.ACCESSOR.name}}/cvmfs_keys/*" {
  capabilities = ["read"]
}

path "secrets/metadata/{{identity.entity.aliases.ACCESSOR.name}}/cvmfs_keys/*" {
  capabilities = ["list"]
}
