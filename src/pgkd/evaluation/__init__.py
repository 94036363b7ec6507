"""How good probabilities are: reports, scores with their errors, temperatures, thresholds.

May import: `inputs` and what is below.
"""
