-- Share that stops after the appetizers: of the visits that reached them, those that reached nothing behind them.
WITH appetizers AS (
  SELECT restaurant_id, menu_id, visit_id, max(section_index) AS section_index
  FROM menu_section_reached
  WHERE section_id = 'appetizers'
  GROUP BY restaurant_id, menu_id, visit_id
),
furthest AS (
  SELECT restaurant_id, menu_id, visit_id, max(section_index) AS section_index
  FROM menu_section_reached
  GROUP BY restaurant_id, menu_id, visit_id
)
SELECT
  appetizers.restaurant_id, appetizers.menu_id,
  count(*) AS visits,
  sum(CASE WHEN furthest.section_index = appetizers.section_index THEN 1 ELSE 0 END) AS visits_that_stop,
  round(100.0 * sum(CASE WHEN furthest.section_index = appetizers.section_index THEN 1 ELSE 0 END) / count(*), 1) AS percent
FROM appetizers
JOIN furthest ON furthest.visit_id = appetizers.visit_id
  AND furthest.restaurant_id = appetizers.restaurant_id AND furthest.menu_id = appetizers.menu_id
GROUP BY appetizers.restaurant_id, appetizers.menu_id
ORDER BY restaurant_id, menu_id
