"""Metric families: the catalogue, and one collector file per subject."""
