-- Where visits stop: the furthest section of each visit that reached any.
WITH furthest AS (
  SELECT
    restaurant_id, menu_id, visit_id,
    max(section_index) AS section_index,
    max_by(section_id, section_index) AS section_id,
    max_by(section_name, section_index) AS section_name
  FROM menu_section_reached
  GROUP BY restaurant_id, menu_id, visit_id
)
SELECT
  restaurant_id, menu_id, section_index, section_id,
  max(section_name) AS section_name,
  count(*) AS visits,
  sum(count(*)) OVER (PARTITION BY restaurant_id, menu_id) AS of_visits,
  round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY restaurant_id, menu_id), 1) AS percent_of_visits
FROM furthest
GROUP BY restaurant_id, menu_id, section_index, section_id
ORDER BY restaurant_id, menu_id, section_index
