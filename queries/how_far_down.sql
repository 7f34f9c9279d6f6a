-- How far down people get: the share of visits that reached each section.
WITH opened AS (
  SELECT restaurant_id, menu_id, count(DISTINCT visit_id) AS visits
  FROM menu_page_opened
  GROUP BY restaurant_id, menu_id
)
SELECT
  reached.restaurant_id, reached.menu_id, reached.section_index, reached.section_id,
  max_by(reached.section_name, reached.created_at) AS section_name,
  count(DISTINCT reached.visit_id) AS visits,
  max(opened.visits) AS of_visits,
  round(100.0 * count(DISTINCT reached.visit_id) / max(opened.visits), 1) AS percent_of_visits
FROM menu_section_reached AS reached
JOIN opened ON opened.restaurant_id = reached.restaurant_id AND opened.menu_id = reached.menu_id
GROUP BY reached.restaurant_id, reached.menu_id, reached.section_index, reached.section_id
ORDER BY restaurant_id, menu_id, section_index
