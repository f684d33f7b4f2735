"""Where the gap is: from the start and fading, in padded rows alone, from one position
on, growing, or in completions alone. One file a signature; `measures` is what they
share.
"""
