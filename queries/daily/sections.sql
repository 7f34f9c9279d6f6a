-- Sections by day: in how many visits each was reached, and of how many it was the furthest.
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
reached AS (
  SELECT visits.visit, visits.cell, sections.section_id, sections.section_index, sections.section_name
  FROM menu_section_reached AS sections
  JOIN visits ON visits.visit_id = sections.visit_id
    AND CAST(sections.created_date AS date) BETWEEN visits.lake_date AND visits.last_lake_date
  WHERE CAST(sections.created_date AS varchar) BETWEEN '0001-01-01' AND '9999-12-31'
),
furthest AS (
  SELECT min(cell) AS cell, max_by(section_id, section_index) AS section_id
  FROM reached
  GROUP BY visit
),
stopped AS (
  SELECT cell, section_id, count(*) AS visits
  FROM furthest
  GROUP BY cell, section_id
),
counted AS (
  SELECT cell, section_id, max(section_index) AS section_index, max(section_name) AS section_name, count(DISTINCT visit) AS visits
  FROM reached
  GROUP BY cell, section_id
)
SELECT
  cells.restaurant_id, cells.menu_id, cells.day, cells.locale, counted.section_id, counted.section_index, counted.section_name,
  counted.visits AS visits_reached,
  coalesce(stopped.visits, 0) AS visits_stopped
FROM counted
JOIN cells ON cells.cell = counted.cell
LEFT JOIN stopped ON stopped.cell = counted.cell AND stopped.section_id = counted.section_id
ORDER BY restaurant_id, menu_id, day, locale, section_index, section_id
