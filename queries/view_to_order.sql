-- From view to order: of the visits that saw a dish, those that ordered it.
WITH viewed AS (
  SELECT restaurant_id, menu_id, item_id, visit_id, max(item_name) AS item_name
  FROM menu_item_viewed
  GROUP BY restaurant_id, menu_id, item_id, visit_id
),
ordered AS (
  SELECT restaurant_id, menu_id, item_id, visit_id, sum(coalesce(quantity, 1)) AS quantity
  FROM menu_item_ordered
  WHERE action = 'order'
  GROUP BY restaurant_id, menu_id, item_id, visit_id
)
SELECT
  viewed.restaurant_id, viewed.menu_id, viewed.item_id,
  max(viewed.item_name) AS item_name,
  count(*) AS visits_viewed,
  count(ordered.visit_id) AS visits_ordered,
  coalesce(sum(ordered.quantity), 0) AS quantity,
  round(100.0 * count(ordered.visit_id) / count(*), 1) AS percent_ordered
FROM viewed
LEFT JOIN ordered ON ordered.visit_id = viewed.visit_id AND ordered.item_id = viewed.item_id
  AND ordered.restaurant_id = viewed.restaurant_id AND ordered.menu_id = viewed.menu_id
GROUP BY viewed.restaurant_id, viewed.menu_id, viewed.item_id
ORDER BY percent_ordered DESC, visits_viewed DESC, item_id
