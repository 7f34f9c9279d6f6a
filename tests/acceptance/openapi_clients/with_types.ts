// The types that openapi-typescript made, used by openapi-fetch, sending what the jobs of the first argument say.

import createClient from "openapi-fetch";
import type { components, paths } from "./types";

// The number of a member that must be there: tsc refuses a client whose answers lack one.
type Answers = paths["/v1/events"]["post"]["responses"];
type Counted = Answers[200 | 202 | 207]["content"]["application/json"];
type Problem = Answers[422 | 503]["content"]["application/problem+json"];
const total = (answer: Counted): number => answer.accepted + answer.duplicates + answer.rejected + answer.retry;

async function send(url: string, prefer: string, events: components["schemas"]["Event"][]): Promise<[number, Counted | Problem]> {
  const client = createClient<paths>({ baseUrl: url, headers: { Authorization: "Bearer dev" } });
  const { data, error, response } = await client.POST("/v1/events", { body: events, params: { header: prefer ? { Prefer: prefer } : {} } });
  if (data && total(data) !== events.length) throw new Error("the counts do not add up");
  return [response.status, data ?? (error as Problem)];
}

async function main() {
  const answers = [];
  for (const { url, prefer, events } of JSON.parse(process.argv[2]!)) {
    const [status, answer] = await send(url, prefer, events);
    const { accepted, duplicates, rejected, retry, results, results_truncated } = answer;
    answers.push({
      status, accepted, duplicates, rejected, retry, truncated: results_truncated,
      results: results?.map((result) => [result.index, result.event_uuid, result.status, result.error?.code, result.error?.pointer]),
    });
  }
  console.log(JSON.stringify(answers));
}

void main();
