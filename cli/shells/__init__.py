"""Completion scripts, one module a shell."""
