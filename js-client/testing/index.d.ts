/** Where the rig is. */
export interface RigOptions {
  /** The address of `lakegate dev` for operators; without it that in LAKEGATE_DEV, or http://127.0.0.1:9090. */
  admin?: string;
}

/** An event as it was sent. */
export type Payload = Record<string, any>;

/** Part of a payload: each member that is here must be the same there. Or a function that says whether it is wanted. */
export type Where = Payload | ((payload: Payload) => unknown);

export type Status = 'accepted' | 'duplicate' | 'rejected' | 'retry';

export interface Expected {
  /** How often it comes: exactly, unless `atLeast`. 1 if it is not said. */
  count?: number;
  atLeast?: boolean;
  status?: Status;
  where?: Where;
  /** The name of the key. */
  key?: string;
  /** How long to wait. 5000 if it is not said. */
  timeoutMs?: number;
}

/** What came, and what became of it. */
export interface Seen {
  event_uuid?: string;
  event_name?: string;
  key: string;
  outcome: Status;
  code?: string;
  pointer?: string;
  detail?: string;
  received_datetime: string;
  schema_version?: number;
  replayed: boolean;
  payload?: Payload;
}

export interface Rig {
  readonly admin: string;
  /** Where the application sends its events. */
  url(): Promise<string>;
  /** Waits for events of this name (`menu:*` is a pattern). Returns their payloads, or throws with what came instead. */
  expect(event: string, expected?: Expected): Promise<Payload[]>;
  /** Throws if such an event is there, or comes within `forMs`. */
  never(event: string, expected?: { forMs?: number; status?: Status; where?: Where; key?: string }): Promise<void>;
  /** The events since the reset, the oldest first. */
  events(query?: { event?: string; status?: Status; key?: string; limit?: number }): Promise<Seen[]>;
  /** Forgets the events, and ends the faults. Call it before each test. */
  reset(): Promise<{ forgotten: number }>;
  /** Asks for a fault: answers with an error, slow answers, a sink that is down. */
  fault(fault: { status?: number; retry_after?: number; latency_ms?: number; sink?: 'down' | 'up'; for_ms?: number }): Promise<unknown>;
  /** The faults in force. */
  faults(): Promise<{ status: number | null; latency_ms: number | null; sink: 'down' | 'up' }>;
}

export function rig(options?: RigOptions): Rig;
