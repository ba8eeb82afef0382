"""Pure statistics: counts in, numbers out; no clock, no input or output, no Prometheus."""
