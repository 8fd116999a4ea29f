# One for each group that has a repository; GROUP is its name. Members get it by the claim of groups in their login.

path "secrets/data/groups/GROUP/cvmfs_keys/*" {
  capabilities = ["read"]
}

path "secrets/metadata/groups/GROUP/cvmfs_keys/*" {
  capabilities = ["list"]
}
