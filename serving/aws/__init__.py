"""The same model and the same routes on AWS, without a machine that is always on."""
