"""The charts: `registry` lists them, `pane` shows one, `plot` alone knows plotext.
Numbers come from `logdrift.core.compare`.

A new chart is one subclass of `base.Chart` and one line in the registry.
"""
