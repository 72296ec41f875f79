"""Delta tables built with Spark: Bronze (raw records), Silver (clean, deduplicated), Gold (classified by the bundle)."""
