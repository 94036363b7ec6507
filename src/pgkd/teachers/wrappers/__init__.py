"""What puts itself around any teacher: a cache, a budget, a recording.

A wrapper overrides `session` of `pgkd.teachers.base.LLMTeacher` and may import that; it knows
neither transports nor providers.
"""
