-- Time per dish by day, as a histogram, because medians of days do not add up: how many visits had the dish in view for so many tenths of a second.
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
-- Each report has the totals so far: the last one counts.
reports AS (
  SELECT min(visits.visit_id) AS visit_id, min(visits.cell) AS cell, max(progress.progress_index) AS progress_index
  FROM menu_visit_progress AS progress
  JOIN visits ON visits.visit_id = progress.visit_id
    AND CAST(progress.created_date AS date) BETWEEN visits.lake_date AND visits.last_lake_date
  WHERE CAST(progress.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
  GROUP BY visits.visit
),
in_view AS (
  SELECT reports.cell, items.item_id, CAST(floor((items.dwell_ms + 50) / 1e2) AS integer) AS tenths
  FROM menu_visit_item_report AS items
  JOIN reports ON reports.visit_id = items.visit_id AND reports.progress_index = items.progress_index
  WHERE CAST(items.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
),
counted AS (
  SELECT cell, item_id, tenths, count(*) AS visits
  FROM in_view
  GROUP BY cell, item_id, tenths
)
SELECT cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.item_id, counted.tenths, counted.visits
FROM counted
JOIN cells ON cells.cell = counted.cell
ORDER BY restaurant_id, menu_id, day, locale, item_id, tenths
