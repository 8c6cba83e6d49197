"""Servers that behave like the ones we talk to, and can be told to behave badly."""
