"""How requests reach a model, whichever provider serves it.

`remote` is what teachers that ask a service share, `http` a service behind an HTTP API,
`structured` one whose answers may be held to a schema in more than one way, `batch` one that takes
batches; the rest are their parts. May import `pgkd.teachers.base` and what that may, no provider.
"""
