-- By day and hour, on the visitors' own clocks: visits, dishes viewed, orders.
WITH acts AS (
  SELECT restaurant_id, menu_id, created_datetime, utc_offset_minutes, 1 AS visits, 0 AS views, 0 AS orders FROM menu_page_opened
  UNION ALL
  SELECT restaurant_id, menu_id, created_datetime, utc_offset_minutes, 0, 1, 0 FROM menu_item_viewed
  UNION ALL
  SELECT restaurant_id, menu_id, created_datetime, utc_offset_minutes, 0, 0, 1 FROM menu_item_ordered WHERE action = 'order'
),
local AS (
  SELECT *, created_datetime + coalesce(utc_offset_minutes, 0) * INTERVAL '1' MINUTE AS local_time FROM acts
)
SELECT
  restaurant_id, menu_id,
  CAST(local_time AS date) AS local_day,
  extract(HOUR FROM local_time) AS local_hour,
  sum(visits) AS visits,
  sum(views) AS views,
  sum(orders) AS orders
FROM local
GROUP BY restaurant_id, menu_id, CAST(local_time AS date), extract(HOUR FROM local_time)
ORDER BY restaurant_id, menu_id, local_day, local_hour
