// A client that openapi-generator made for TypeScript (typescript-fetch), sending what the jobs of the first argument say.

import { Configuration, EventsApi, ProblemFromJSON, ResponseError } from "./typescript-fetch";
import type { Answer, Event, Problem } from "./typescript-fetch";

async function send(url: string, prefer: string, events: Event[]): Promise<[number, Answer | Problem]> {
  const api = new EventsApi(new Configuration({ basePath: url, accessToken: "dev" }));
  try {
    const response = await api.postEventsRaw({ event: events, prefer: prefer || undefined });
    return [response.raw.status, await response.value()];
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    return [error.response.status, ProblemFromJSON(await error.response.json())];
  }
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
