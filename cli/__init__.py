"""One module per command: `add_parser` declares its flags, `run` does it and returns
the exit code.
"""
