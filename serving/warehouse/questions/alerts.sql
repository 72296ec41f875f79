-- Alerts, newest first. One without `closed_at` is open, and returned at any age. With the person who acknowledged it, and the time
-- until which its source is muted.
SELECT a.id AS id, a.source AS source, direction, started_at, detected_at, closed_at, z, moving_average, baseline_mean, baseline_std,
       volume, window_s, texts, revision, words, usual_volume, muted,
       if(k.alert_id = '', NULL, k.acknowledged_by) AS acknowledged_by, if(k.alert_id = '', NULL, k.acknowledged_at) AS acknowledged_at,
       if(m.muted_until > now64(3), m.muted_until, NULL) AS muted_until, if(m.muted_until > now64(3), m.muted_by, NULL) AS muted_by
FROM alerts AS a FINAL
LEFT JOIN (SELECT alert_id, acknowledged_by, acknowledged_at FROM alert_acknowledgements FINAL) AS k ON k.alert_id = a.id
LEFT JOIN (SELECT source, muted_until, muted_by FROM alert_mutes FINAL) AS m ON m.source = a.source
WHERE (detected_at >= {since:DateTime64(3, 'UTC')} OR closed_at IS NULL) AND detected_at < {until:DateTime64(3, 'UTC')}
  AND ({source:String} = '' OR a.source = {source:String})
  AND ({id:String} = '' OR a.id = {id:String})
ORDER BY detected_at DESC, id
LIMIT {limit:UInt32}
