"""Traces as tokens with their loss mask, cut and packed."""
