"""A module for each provider: what only this provider does, on what `pgkd.teachers.transport` has.

May import all of `pgkd.teachers` but the wrappers; providers do not import one another, except
`local`, which runs one of the two engines `causal_lm` and `llama_cpp`.
"""
