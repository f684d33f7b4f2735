"""Sessions as files of other tools: one row a token and capture, or lines that import
back (docs/export.md).
"""
