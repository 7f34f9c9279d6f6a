"""A client that openapi-python-client made, sending what the jobs of the first argument say."""

import json
import sys

from lakegate_attrs import AuthenticatedClient
from lakegate_attrs.api.events import post_events
from lakegate_attrs.models import Event
from lakegate_attrs.types import UNSET


def found(value):
    return None if value is UNSET else value


answers = []
for job in json.loads(sys.argv[1]):
    with AuthenticatedClient(base_url=job["url"], token="dev") as client:
        events = [Event.from_dict(event) for event in job["events"]]
        response = post_events.sync_detailed(client=client, body=events, prefer=job["prefer"] or UNSET)
    answer = response.parsed
    answers.append({
        "status": response.status_code, "accepted": answer.accepted, "duplicates": answer.duplicates, "rejected": answer.rejected,
        "retry": answer.retry, "truncated": found(answer.results_truncated),
        "results": [[result.index, found(result.event_uuid), result.status, found(result.error) and result.error.code,
                     found(result.error) and found(result.error.pointer)] for result in answer.results],
    })
print(json.dumps(answers))
