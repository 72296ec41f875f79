"""Programs that run on this machine only: Kafka, the jars of Spark, Dagster's pages."""
