-- On DuckDB, behind `lakegate lake tables --format duckdb`, the typed tables: what the queries in this folder need beside these.

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
SELECT restaurant_id, menu_id, visit_id, created_date, item.item_id, item.dwell_ms
FROM (SELECT *, unnest(items) AS item FROM menu_visit_end) AS items_in_view;

-- The same of every report: for what is asked by day, which must not look at all days to find the last report.
CREATE OR REPLACE VIEW menu_visit_item_report AS
SELECT restaurant_id, menu_id, visit_id, created_date, progress_index, item.item_id, item.dwell_ms
FROM (SELECT *, unnest(items) AS item FROM menu_visit_progress) AS items_in_view;
