"""The dashboard: REST API, web pages and live updates. It asks for work and reads; it does none itself."""
