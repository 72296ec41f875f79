-- The domain whose head decided on a message, or general. Older rows were all decided by one head.

ALTER TABLE predictions ADD COLUMN IF NOT EXISTS domain LowCardinality(String) DEFAULT 'general';
