# AppRole dashboard: the dashboard, and whoever asks how things stand. It reads the registry and public keys, no secret.

path "softman/data/repositories/*" {
  capabilities = ["read"]
}

path "softman/metadata/repositories/*" {
  capabilities = ["list"]
}

path "softman/data/public/*" {
  capabilities = ["read"]
}

# Never, whatever another policy of the token allows.
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

path "secrets/*" {
  capabilities = ["deny"]
}
