"""Password hashes as RabbitMQ stores them."""

from softman.standalone.rabbitmq import password_hash


def test_the_example_of_rabbitmqs_documentation() -> None:
    hashed = password_hash("test12", bytes.fromhex("908DC60A"))
    assert hashed == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
