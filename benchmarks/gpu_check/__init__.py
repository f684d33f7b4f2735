"""What only a machine with a GPU can show, measured in minutes: ``make gpu-check``.

Every check is a process of its own in the interpreter that runs this, so that one that
fails costs no other, and memory is that of the check alone. It needs torch,
transformers, safetensors and NumPy; no network and no model: the models are made here.
"""
