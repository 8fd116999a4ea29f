"""What operators can measure, in Prometheus' format: counted by every process, and observed by the exporter."""
