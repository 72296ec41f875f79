-- The operating point that was chosen for a message; its tier is the one whose prediction counts. Older rows had one tier.

ALTER TABLE predictions ADD COLUMN IF NOT EXISTS point LowCardinality(String) DEFAULT tier;
