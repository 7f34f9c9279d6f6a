-- Time per dish: how long it was in view, in all and for each visit that came past it.
WITH names AS (
  SELECT restaurant_id, item_id, max_by(item_name, created_at) AS item_name
  FROM menu_item_viewed
  GROUP BY restaurant_id, item_id
)
SELECT
  times.restaurant_id, times.menu_id, times.item_id,
  coalesce(max(names.item_name), times.item_id) AS item_name,
  count(*) AS visits,
  round(sum(times.dwell_ms) / 1000.0, 1) AS seconds,
  round(sum(times.dwell_ms) / 1000.0 / count(*), 1) AS seconds_per_visit
FROM menu_visit_item AS times
LEFT JOIN names ON names.restaurant_id = times.restaurant_id AND names.item_id = times.item_id
GROUP BY times.restaurant_id, times.menu_id, times.item_id
ORDER BY seconds_per_visit DESC, item_id
