-- Alerts, newest first; one without `closed_at` is open, and told however old it is.
SELECT id, source, direction, started_at, detected_at, closed_at, z, moving_average, baseline_mean, baseline_std, volume, window_s, texts,
       revision
FROM alerts FINAL
WHERE (detected_at >= {since:DateTime64(3, 'UTC')} OR closed_at IS NULL) AND detected_at < {until:DateTime64(3, 'UTC')}
  AND ({source:String} = '' OR source = {source:String})
ORDER BY detected_at DESC, id
LIMIT {limit:UInt32}
