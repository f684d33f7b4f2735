"""Texts that both engines' scripts score: prose, code, other scripts with digits and
emoji, and a long one.
"""

from __future__ import annotations

TEXTS = (
    (
        "The capital of France is Paris, and the river that runs through it is called"
        " the Seine. In the summer of 1900 the city held a world fair, for which the"
        " Grand Palais and the first line of the Metro were built."
    ),
    (
        "def fibonacci(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n      "
        "  a, b = b, a + b\n    return a\n"
    ),
    "深度学习模型在不同的硬件上会给出略有不同的结果。 1234567890 3.14159265358979 🙂🎉🚀",
    (
        "Numbers in floating point are not associative: (a + b) + c and a + (b + c) may"
        " differ in the last bit. A sum over a long row therefore depends on the order"
        " in which it is taken, and the order depends on the shape of the batch, on the"
        " kernel that was chosen, on the number of threads and on how a sequence was"
        " cut into chunks. None of this is a bug, yet a reinforcement learner that"
        " treats two engines as one policy will notice it sooner or later, because the"
        " ratio of two probabilities that ought to be equal is no longer one."
    ),
    (
        "Dear Sir or Madam,\n\nI am writing to complain about the toaster (model"
        " TX-9000) that I bought on 12 May. It burns one side & leaves the other cold;"
        " the refund was refused twice, with no reason given!\n"
    ),
)
