-- Which head decided is lost; the labels stay.

ALTER TABLE predictions DROP COLUMN IF EXISTS domain;
