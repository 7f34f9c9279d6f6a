-- On Athena, behind `lakegate lake tables --format athena`, the typed tables: what the queries in this folder need beside these.

-- The last report of each visit: its totals replace those of the reports before it.
CREATE OR REPLACE VIEW menu_visit_end AS
SELECT restaurant_id, menu_id, visit_id, created_date, active_ms, depth_percent, items
FROM (
  SELECT *, row_number() OVER (PARTITION BY visit_id ORDER BY progress_index DESC) AS recency
  FROM menu_visit_progress
) AS reports
WHERE recency = 1;

-- One row for each item that was in view in a visit. By name, because UNNEST of the structs themselves has a column for each of their members, also of those that a later schema adds.
CREATE OR REPLACE VIEW menu_visit_item AS
SELECT restaurant_id, menu_id, visit_id, created_date, item_id, dwell_ms
FROM menu_visit_end
CROSS JOIN UNNEST(transform(items, item -> item.item_id), transform(items, item -> item.dwell_ms)) AS item_times(item_id, dwell_ms);

-- The same of every report: for what is asked by day, which must not look at all days to find the last report.
CREATE OR REPLACE VIEW menu_visit_item_report AS
SELECT restaurant_id, menu_id, visit_id, created_date, progress_index, item_id, dwell_ms
FROM menu_visit_progress
CROSS JOIN UNNEST(transform(items, item -> item.item_id), transform(items, item -> item.dwell_ms)) AS item_times(item_id, dwell_ms);
