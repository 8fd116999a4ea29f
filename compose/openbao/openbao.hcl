# On the private network of the containers; a site with its own Vault or OpenBao does without this one.
ui = false
storage "file" {
  path = "/openbao/file"
}
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
