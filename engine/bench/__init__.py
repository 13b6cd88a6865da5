"""Measuring the exchange: open-loop latency under a cascade, throughput, cost per tick."""
