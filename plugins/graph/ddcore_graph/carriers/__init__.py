"""Carriers of nodes."""
