"""Prometheus exporter for machine-learning models."""
