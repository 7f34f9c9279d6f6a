-- Time per dish: how long it was in view. The median of the visits that came past it, their mean, and all together.
WITH names AS (
  SELECT restaurant_id, item_id, max_by(item_name, created_at) AS item_name
  FROM menu_item_viewed
  GROUP BY restaurant_id, item_id
),
times AS (
  SELECT
    restaurant_id, menu_id, item_id, dwell_ms,
    row_number() OVER (PARTITION BY restaurant_id, menu_id, item_id ORDER BY dwell_ms) AS place,
    count(*) OVER (PARTITION BY restaurant_id, menu_id, item_id) AS visits
  FROM menu_visit_item
)
SELECT
  times.restaurant_id, times.menu_id, times.item_id,
  coalesce(max(names.item_name), times.item_id) AS item_name,
  count(*) AS visits,
  round(sum(times.dwell_ms) / 1000.0, 1) AS seconds,
  round(sum(times.dwell_ms) / 1000.0 / count(*), 1) AS seconds_per_visit,
  -- The one in the middle, or the mean of the two.
  round(avg(CASE WHEN 2 * times.place BETWEEN times.visits AND times.visits + 2 THEN times.dwell_ms END) / 1000.0, 1) AS median_seconds
FROM times
LEFT JOIN names ON names.restaurant_id = times.restaurant_id AND names.item_id = times.item_id
GROUP BY times.restaurant_id, times.menu_id, times.item_id
ORDER BY median_seconds DESC, item_id
