"""A client that openapi-generator made for Python, sending what the jobs of the first argument say."""

import json
import sys

from lakegate_generated import ApiClient, ApiException, Configuration, Event, EventsApi


def send(job):
    configuration = Configuration(host=job["url"], access_token="dev")
    with ApiClient(configuration) as client:
        events = [Event.from_dict(event) for event in job["events"]]
        try:
            answer = EventsApi(client).post_events_with_http_info(events, prefer=job["prefer"])
            return answer.status_code, answer.data
        except ApiException as problem:
            return problem.status, problem.data


answers = []
for job in json.loads(sys.argv[1]):
    status, answer = send(job)
    answers.append({
        "status": status, "accepted": answer.accepted, "duplicates": answer.duplicates, "rejected": answer.rejected,
        "retry": answer.retry, "truncated": answer.results_truncated,
        "results": [[result.index, result.event_uuid, result.status, result.error and result.error.code, result.error and result.error.pointer]
                    for result in answer.results or []],
    })
print(json.dumps(answers))
