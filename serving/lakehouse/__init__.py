"""Records to trusted Delta tables with Spark: Bronze as they came, Silver clean and once, Gold judged by the bundle."""
