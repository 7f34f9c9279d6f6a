-- Visits by day and hour, and what they ordered. A visit counts in the hour in which it opened, on the visitor's own clock.
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
-- Of the visits that ordered.
ordered AS (
  SELECT
    min(visits.cell) AS cell,
    min(visits.hour) AS hour,
    count(*) AS orders,
    sum(coalesce(orders.quantity, 1)) AS quantity
  FROM menu_item_ordered AS orders
  JOIN visits ON visits.visit_id = orders.visit_id
    AND CAST(orders.created_date AS date) BETWEEN visits.lake_date AND visits.last_lake_date
  WHERE orders.action = 'order' AND CAST(orders.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
  GROUP BY visits.visit
),
counted AS (
  SELECT cell, hour, count(*) AS visits, 0 AS visits_ordered, 0 AS orders, 0 AS quantity
  FROM visits
  GROUP BY cell, hour
  UNION ALL
  SELECT cell, hour, 0, count(*), sum(orders), sum(quantity)
  FROM ordered
  GROUP BY cell, hour
)
SELECT
  cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.hour,
  CAST(sum(counted.visits) AS bigint) AS visits,
  CAST(sum(counted.visits_ordered) AS bigint) AS visits_ordered,
  CAST(sum(counted.orders) AS bigint) AS orders,
  CAST(sum(counted.quantity) AS bigint) AS quantity
FROM counted
JOIN cells ON cells.cell = counted.cell
GROUP BY cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.hour
ORDER BY restaurant_id, menu_id, day, locale, hour
