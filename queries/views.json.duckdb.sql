-- On DuckDB, behind `lakegate lake views --dialect duckdb`, which reads the JSON of the lake: what the queries in this folder need beside the event types' own views.

-- The last report of each visit: its totals replace those of the reports before it.
CREATE OR REPLACE VIEW menu_visit_end AS
SELECT restaurant_id, menu_id, visit_id, created_date, active_ms, depth_percent, items
FROM (
  SELECT *, row_number() OVER (PARTITION BY visit_id ORDER BY progress_index DESC) AS recency
  FROM menu_visit_progress
) AS reports
WHERE recency = 1;

-- One row for each item that was in view in a visit.
CREATE OR REPLACE VIEW menu_visit_item AS
SELECT
  restaurant_id, menu_id, visit_id, created_date,
  json_extract_string(item, '$.item_id') AS item_id,
  CAST(json_extract_string(item, '$.dwell_ms') AS bigint) AS dwell_ms
FROM menu_visit_end, unnest(CAST(items AS json[])) AS item_times(item);

-- The same of every report: for what is asked by day, which must not look at all days to find the last report.
CREATE OR REPLACE VIEW menu_visit_item_report AS
SELECT
  restaurant_id, menu_id, visit_id, created_date, progress_index,
  json_extract_string(item, '$.item_id') AS item_id,
  CAST(json_extract_string(item, '$.dwell_ms') AS bigint) AS dwell_ms
FROM (SELECT *, unnest(CAST(items AS json[])) AS item FROM menu_visit_progress) AS items_in_view;
