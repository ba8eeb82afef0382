"""`ml_exporter suggest`: targets and limits from a Prometheus' history, and what the alerts would have done in it."""
