// What the gateway answers, as far as the console reads it. For `tsc` only: it is not served.

export type Figures = Record<string, number | null>;
export type Condition = { gateway: string; code: string; blocks: boolean; place: string; detail: string };
export type CodeRate = { code: string; per_second: number };
export type Sink = { sink: string; up: boolean } & Omit<Figures, 'sink' | 'up'>;
export type KeyRate = { key: string; events_per_second: number; rejected_events_per_second: number; refused_requests_per_second: number };
export type GatewayReport = {
  address: string; state: string; error: string | null; version: string | null; uptime_seconds: number | null;
  received_events_per_second: number | null; lag_events: number | null; lag_seconds: number | null;
};
/** The document of `lakegate top --json`. */
export type Report = {
  time: string; ready: boolean; gateways: GatewayReport[]; conditions: Condition[]; events: Figures; requests: Figures;
  latency: Record<string, Figures>; spool: Figures; sinks: Sink[]; keys: KeyRate[]; rejections: CodeRate[]; retries: CodeRate[];
  refusals: CodeRate[]; process: Figures;
};

export type Settings = {
  version: string; gateway: string; allow_changes: boolean; shows_payloads: boolean; fleet: number;
  first_event: { url: string; certificate?: string; takes_dev: boolean };
};

/** What a view is given. */
export type Context = {
  settings: Settings;
  /** The last report; undefined while none came. */
  report(): Report | undefined;
  /** The events received a second, of the last minutes; null where it is not known. */
  history: (number | null)[];
  /** Calls `on` with each report from now on, and at once if there is one. Gives the end of it. */
  reports(on: (report: Report | undefined) => void): () => void;
};

export type View = { title: string; hint: string; show(root: HTMLElement, context: Context, argument: string): void | (() => void) };

export type Live = {
  received_datetime: string; key: string; event_uuid?: string; event_name?: string; schema_version?: number; outcome: string; code?: string;
  pointer?: string; detail?: string; replayed: boolean; bytes: number; payload?: unknown; payload_head?: string;
};

export type Fault = { detail: string; pointer: string };
export type Group = {
  count: number; event_name: string | null; schema_version: number | null; code: string; pointer: string; source: string;
  first_received: string; last_received: string; repeats: number; last_repeated: string | null; example_event_uuid: string | null; example_detail: string;
};
export type Letter = {
  letter: string; state: string; repeats: number;
  line: {
    received_datetime: string; source: string; event_uuid: string | null; event_name: string | null; code: string; detail: string;
    pointer: string; schema?: string; sink?: string; errors?: Fault[]; raw?: string; raw_base64?: string; raw_head?: string; raw_bytes?: number;
  };
};
export type Replayed = {
  dry_run: boolean; letters: number; accepted: number; duplicates: number; rejected: number; not_patched: number; already_accepted: number;
  retry: number; stopped: string | null; left: { groups: Group[] };
};

export type Row = { sink: string; file: string; row_group: number; row: number; key: string; received: string };
export type Story = {
  event_uuid: string; status: string; summary: string;
  accepted: {
    received: string | null; between?: [string, string]; key: string | null; event_name: string | null; replayed_from?: string;
    spool: { seq: number; is_there: boolean } | null; sinks: { sink: string; status: string; at: string | null; shard?: string; rows?: Row[] }[];
  }[];
  sent_again: { times: number; first: string; last: string; key: string | null }[];
  rejected: { letter: string; received: string; key: string; event_name: string | null; code: string; detail: string; pointer: string; state: string; repeats: number }[];
  in_lakes: Row[]; known_since: { window: string | null; ledger: string | null }; problems: string[];
};

export type Answers = { accepted: number; duplicate: number; rejected: number; retry: number };
export type Minute = Answers & {
  minute: string; received: number; replayed: number; sinks: Record<string, Record<string, number>>;
  keys?: Record<string, Answers>; event_names?: Record<string, Answers>;
};
export type Ledger = { since: string | null; imbalance: number; minutes: Minute[] };

export type Key = Answers & {
  name: string; kind: string; enabled: boolean; secrets: { last_used: string | null; not_after: string | null; expired: boolean }[];
  refused_requests: { code: string; count: number }[];
};

export type Listed = { event_name: string; title: string; versions: number[]; latest: number };
export type Change = { kind: string; field: string; pointer: string; detail: string };
/** A JSON Schema, or a part of one. */
export type Schema = { [keyword: string]: any };
