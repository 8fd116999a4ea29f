"""The embedded stack: real RabbitMQ, Redis, Ceph RGW and our own processes, private to a directory."""
