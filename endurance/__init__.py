"""Breaking logdrift on purpose, at random and by the thousand: `python -m endurance`.

A kind of fault is a module here with a `Kind` called KIND (`endurance.runs`) and a line
in `endurance.kinds`. `make endurance` runs all in full; `make test` has a few runs of
each.
"""
