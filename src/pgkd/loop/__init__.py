"""A run: from what the user gives to what the student learns.

`preparation` makes a `Distillation` of `Settings` (what the user wants) and a `Task` (what the user
gives); `distillation` takes the steps; `finish` trains the student. May import everything below:
`samplers`, `teachers`, `students`, `curation`, `evaluation`, `inputs`, `system`, `records`.
"""
