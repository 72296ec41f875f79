"""What each asset and each command does, as plain functions of a `Layout`.

Steps connect the folders that do not import each other. A step reads the results of the steps before it from `var/` and writes
its own result there atomically. It does nothing when nothing it depends on has changed.
"""
