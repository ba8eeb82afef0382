"""`ml_exporter hook`: what Alertmanager's webhook says becomes a request for retraining, once an incident."""
