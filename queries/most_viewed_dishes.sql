-- Most viewed dishes: in how many visits a dish was seen for a second, and how often in all.
SELECT
  restaurant_id, menu_id, item_id,
  max_by(item_name, created_at) AS item_name,
  count(DISTINCT visit_id) AS visits,
  count(*) AS views
FROM menu_item_viewed
GROUP BY restaurant_id, menu_id, item_id
ORDER BY visits DESC, views DESC, item_id
