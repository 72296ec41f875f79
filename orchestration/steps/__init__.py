"""What each asset and each command does, as plain functions of a `Layout`.

This is the glue between the folders that do not know each other. A step reads what the steps before it left under `var/`,
leaves its own result there whole or not at all, and does nothing when nothing it depends on has changed.
"""
