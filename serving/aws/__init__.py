"""The same model and routes on AWS Lambda, without a server that is always on."""
