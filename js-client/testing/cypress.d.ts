import type { Expected, RigOptions, Rig, Seen, Payload } from './index.js';

export function lakegateTasks(on: (action: any, tasks: any) => void, options?: RigOptions): void;
export function lakegateCommands(): void;

declare global {
  namespace Cypress {
    interface Chainable {
      /** Waits for events; fails with what came instead. */
      expectEvent(event: string, expected?: Omit<Expected, 'where'> & { where?: Payload }): Chainable<Payload[]>;
      neverEvent(event: string, expected?: Omit<NonNullable<Parameters<Rig['never']>[1]>, 'where'> & { where?: Payload }): Chainable<null>;
      lakegateEvents(query?: Parameters<Rig['events']>[0]): Chainable<Seen[]>;
      lakegateReset(): Chainable<unknown>;
      lakegateFault(fault: Parameters<Rig['fault']>[0]): Chainable<unknown>;
    }
  }
}
