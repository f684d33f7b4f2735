"""Panes: each draws lines of text and is given frozen records."""
