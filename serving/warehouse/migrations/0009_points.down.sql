-- Which points were chosen is lost; tiers stay.

ALTER TABLE predictions DROP COLUMN IF EXISTS point;
