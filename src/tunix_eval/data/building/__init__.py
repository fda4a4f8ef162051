"""Datasets of traces: chosen, split, compared, written once, exported."""
