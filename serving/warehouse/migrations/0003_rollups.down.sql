DROP VIEW IF EXISTS rollup_minute_view;

DROP VIEW IF EXISTS rollup_hour_view;

DROP TABLE IF EXISTS rollup_second;

DROP TABLE IF EXISTS rollup_minute;

DROP TABLE IF EXISTS rollup_hour;
