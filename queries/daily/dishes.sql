-- Dishes by day: in how many visits each was seen for a second, and in how many of these it was ordered.
WITH opened AS (
  SELECT
    visit_id,
    min(restaurant_id) AS restaurant_id,
    min(menu_id) AS menu_id,
    coalesce(min(locale), '') AS locale,
    min(CAST(created_date AS date)) AS lake_date,
    min(created_datetime + coalesce(utc_offset_minutes, 0) * INTERVAL '1' MINUTE) AS local_time,
    max(CASE WHEN CAST(created_date AS date) <> CAST(created_datetime AS date) THEN 1 ELSE 0 END) AS late
  FROM menu_page_opened
  WHERE CAST(created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
  GROUP BY visit_id
),
dated AS (
  SELECT
    visit_id, restaurant_id, menu_id, locale, lake_date,
    CASE WHEN late = 1 THEN lake_date ELSE CAST(local_time AS date) END AS day,
    CAST(extract(HOUR FROM local_time) AS integer) AS hour
  FROM opened
),
-- What the result has rows of. Millions of rows are grouped by its number, and not by its texts.
cells AS (
  SELECT
    restaurant_id, menu_id, day, locale,
    CAST(row_number() OVER (ORDER BY restaurant_id, menu_id, day, locale) AS integer) AS cell
  FROM dated
  WHERE day BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'
  GROUP BY restaurant_id, menu_id, day, locale
),
visits AS (
  SELECT
    CAST(row_number() OVER () AS integer) AS visit, dated.visit_id, dated.lake_date, CAST(dated.lake_date + INTERVAL '1' DAY AS date) AS last_lake_date,
    dated.hour, cells.cell
  FROM dated
  JOIN cells ON cells.restaurant_id = dated.restaurant_id AND cells.menu_id = dated.menu_id AND cells.day = dated.day AND cells.locale = dated.locale
),
ordered AS (
  SELECT
    visits.visit, orders.item_id,
    min(visits.cell) AS cell,
    max(orders.item_name) AS item_name,
    count(*) AS orders,
    sum(coalesce(orders.quantity, 1)) AS quantity
  FROM menu_item_ordered AS orders
  JOIN visits ON visits.visit_id = orders.visit_id
    AND CAST(orders.created_date AS date) BETWEEN visits.lake_date AND visits.last_lake_date
  WHERE orders.action = 'order' AND CAST(orders.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
  GROUP BY visits.visit, orders.item_id
),
-- A client that numbers the views of a visit says which is the first. Of one that does not, each visit counts once.
viewed AS (
  SELECT
    visits.cell, views.item_id,
    max(views.item_name) AS item_name,
    sum(CASE WHEN views.view_number = 1 THEN 1 ELSE 0 END)
      + count(DISTINCT visits.visit) FILTER (WHERE views.view_number IS NULL) AS visits_viewed,
    sum(CASE WHEN views.view_number = 1 AND ordered.visit IS NOT NULL THEN 1 ELSE 0 END)
      + count(DISTINCT ordered.visit) FILTER (WHERE views.view_number IS NULL) AS visits_ordered,
    count(*) AS views
  FROM menu_item_viewed AS views
  JOIN visits ON visits.visit_id = views.visit_id
    AND CAST(views.created_date AS date) BETWEEN visits.lake_date AND visits.last_lake_date
  LEFT JOIN ordered ON ordered.visit = visits.visit AND ordered.item_id = views.item_id
  WHERE CAST(views.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
  GROUP BY visits.cell, views.item_id
),
counted AS (
  SELECT cell, item_id, item_name, visits_viewed, visits_ordered, views, 0 AS orders, 0 AS quantity FROM viewed
  UNION ALL
  SELECT cell, item_id, item_name, 0, 0, 0, orders, quantity FROM ordered
)
SELECT
  cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.item_id,
  max(counted.item_name) AS item_name,
  CAST(sum(counted.visits_viewed) AS bigint) AS visits_viewed,
  CAST(sum(counted.visits_ordered) AS bigint) AS visits_ordered,
  CAST(sum(counted.views) AS bigint) AS views,
  CAST(sum(counted.orders) AS bigint) AS orders,
  CAST(sum(counted.quantity) AS bigint) AS quantity
FROM counted
JOIN cells ON cells.cell = counted.cell
GROUP BY cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.item_id
ORDER BY restaurant_id, menu_id, day, locale, item_id
