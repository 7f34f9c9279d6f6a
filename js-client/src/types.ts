import type { Events } from './events.js';

export type { Events };

/** Name of an event that the registry has. More are declared with `declare module 'lakegate' { interface Events { … } }`. */
export type EventName = keyof Events & string;

/** Fields that some event has, with their types: what `set` takes. */
type Fields = { [Name in EventName]: Events[Name] }[EventName];
type FieldName = Fields extends infer Each ? (Each extends unknown ? keyof Each : never) : never;
type FieldType<Name extends PropertyKey> = Fields extends infer Each
  ? Each extends { [N in Name]?: infer Type } ? Type : never
  : never;

/** Fields for all events to come. */
export type Context = { [Name in FieldName]?: FieldType<Name> | undefined };

/** The fields of an event; those that were `set` before may be left out. */
export type EventFields<Name extends EventName, Given extends PropertyKey = never> =
  Omit<Events[Name], Given> & Partial<Pick<Events[Name], Extract<keyof Events[Name], Given>>>;

/** `pending`: events wait in memory only. `denied`: they are purged, and no more are kept. */
export type Consent = 'granted' | 'pending' | 'denied';

/** Why the client dropped an event itself. */
export type DropReason = 'queue_full' | 'too_old' | 'too_large' | 'refused' | 'invalid';

/** What became of one event. */
export interface Outcome {
  event_uuid: string;
  /** `dropped` by the client; all others as the gateway answered. */
  status: 'accepted' | 'duplicate' | 'rejected' | 'dropped';
  /** Why it was rejected or dropped: a stable code, and, from the gateway, where and what. */
  error?: { code: string; detail?: string; pointer?: string; schema?: string };
}

/** Options of every client. */
export interface CommonOptions {
  /** Where events are posted to, such as `https://events.example.com/v1/events`. */
  url: string;
  /** The key; in a browser it is public. */
  key: string;
  /** How long an event waits for others, in milliseconds; 2000 unless said otherwise. */
  flushMs?: number;
  /** Events in one request; 100. */
  maxBatch?: number;
  /** Bytes of one request before gzip; 60000, which the quota of requests at a page's exit allows. */
  maxBytes?: number;
  /** Events that may wait; 1000 in a browser, 100000 in Node. Beyond it new ones are dropped, counted and reported. */
  maxQueue?: number;
  /** Age at which an event is dropped, in milliseconds; three days, since the gateway knows duplicates for seven. */
  maxAgeMs?: number;
  /** Whether requests are packed; true. */
  gzip?: boolean;
  /**
   * Whether the console says of every event that was rejected or dropped why, and what to do; and, with `lakegate/menu`, what is wrong
   * with the page. In a page true where its host is this machine (localhost), otherwise false; false in Node.
   */
  debug?: boolean;
  /** Told once of every event what became of it. */
  on?: (outcome: Outcome) => void;
}

/** What a client does. `Given` names the fields that `set` has given. */
export interface CommonClient<Given extends PropertyKey = never> {
  /** Takes an event and returns its `event_uuid`. Never throws, never waits. */
  track<Name extends EventName>(name: Name, fields: EventFields<Name, Given>): string;
  /** Fields for all events to come; `undefined` takes one away. */
  set<Fields extends Context>(fields: Fields): CommonClient<Given | keyof Fields>;
  /** Sends now what waits, unless the gateway said to come later. */
  flush(): Promise<void>;
}
