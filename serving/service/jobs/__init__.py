"""Jobs of many texts: the queue, its stores, its routes."""
