"""Engines in processes, and where they need one in environments, of their own: what they do to themselves, they do to
nobody else.

`environments` makes the Python environments, `process` starts, asks and ends a worker process, `worker` is what runs in
it, `channel` is what both say to each other, and `proxy` is the engine class that the executor sees.
"""
