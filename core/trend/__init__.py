"""Sessions over the steps of a training: rows, the first change, and its likely
cause.
"""
