"""Webhooks through the whole service, to receivers on this machine."""
