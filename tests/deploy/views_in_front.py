"""Views for an Athena that forgets them: MiniStack's. A statement gets the views that it reads in front of it, as a WITH.

MiniStack's SQL is DuckDB's. So the views with typed columns, which read JSON, are those of `--dialect duckdb`; the saved queries and
the views `events` and `events_raw` are taken as Terraform made them.
"""

import re
import subprocess

from gateway import ENVIRONMENT, ROOT, binary

STATEMENT = re.compile(r'^CREATE OR REPLACE VIEW "?(\w+)"? AS\n(.*?);\s*$', re.MULTILINE | re.DOTALL)
READ = re.compile(r'\b(?:FROM|JOIN)\s+"?(\w+)"?')


def statements(sql: str) -> dict[str, str]:
    """The SELECT of each view that the statements make."""
    return dict(STATEMENT.findall(sql))


def typed_views() -> dict[str, str]:
    command = [binary(), "lake", "views", "--dialect", "duckdb", "--schemas", ROOT / "schemas"]
    printed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    views = statements(printed) | statements((ROOT / "queries/views.json.duckdb.sql").read_text())
    return {name: select for name, select in views.items() if name not in ("events", "events_raw")}


def with_views(sql: str, views: dict[str, str]) -> str:
    """The statement with the views that it needs, each behind those that it needs itself."""
    ordered: list[str] = []

    def need(text: str):
        for name in READ.findall(text):
            if name in views and name not in ordered:
                need(views[name])
                ordered.append(name)

    need(sql)
    made = ",\n".join(f'"{name}" AS ({views[name]})' for name in ordered)
    body = re.sub(r"^(\s*--[^\n]*\n)*\s*", "", sql)
    if not made:
        return body
    return f"WITH {made},\n{body[5:]}" if body.startswith("WITH ") else f"WITH {made}\n{body}"
