"""Who asks: login by OpenID Connect, API tokens, sessions."""
