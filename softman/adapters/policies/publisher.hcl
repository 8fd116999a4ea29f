# AppRole publisher: reads what it needs to propose a revision, writes nothing.

path "secrets/data/+/cvmfs_keys/*" {
  capabilities = ["read"]
}

path "secrets/data/groups/+/cvmfs_keys/*" {
  capabilities = ["read"]
}

path "softman/data/repositories/*" {
  capabilities = ["read"]
}

path "softman/metadata/repositories/*" {
  capabilities = ["list"]
}

path "softman/data/public/*" {
  capabilities = ["read"]
}

# Signing and master keys: never, not even if another policy of the token allows "softman/*". Written without "+", since
# a pattern with it would rank below such a rule.
path "softman/data/signing/*" {
  capabilities = ["deny"]
}

path "softman/data/signing-masters/*" {
  capabilities = ["deny"]
}

path "softman/metadata/signing/*" {
  capabilities = ["deny"]
}

path "softman/metadata/signing-masters/*" {
  capabilities = ["deny"]
}
