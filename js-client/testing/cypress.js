// Commands for Cypress. Its tests run in the page, so the rig is asked by tasks, in Node.
import { rig } from './index.js';

/**
 * In `cypress.config`: `setupNodeEvents(on) { lakegateTasks(on); }`.
 * @param {(action: 'task', tasks: Record<string, (value: any) => any>) => void} on
 * @param {import('./index.js').RigOptions} [options]
 */
export function lakegateTasks(on, options) {
  const lakegate = rig(options);
  // Cypress takes `undefined` for a task that does not exist.
  const value = async (promise) => (await promise) ?? null;
  on('task', {
    'lakegate:expect': ([event, expected]) => value(lakegate.expect(event, expected)),
    'lakegate:never': ([event, expected]) => value(lakegate.never(event, expected)),
    'lakegate:events': (query) => value(lakegate.events(query ?? {})),
    'lakegate:reset': () => value(lakegate.reset()),
    'lakegate:fault': (fault) => value(lakegate.fault(fault)),
  });
}

/** In the support file: `lakegateCommands()`. Then `cy.expectEvent('menu:item:ordered', { count: 1 })`; `where` is an object here. */
export function lakegateCommands() {
  const { Cypress, cy } = /** @type {any} */ (globalThis);
  // The task must outlast the wait.
  const task = (name, value, timeoutMs = 5000) => cy.task(`lakegate:${name}`, value ?? null, { timeout: timeoutMs + 5000 });
  Cypress.Commands.add('expectEvent', (event, expected = {}) => task('expect', [event, expected], expected.timeoutMs));
  Cypress.Commands.add('neverEvent', (event, expected = {}) => task('never', [event, expected], expected.forMs));
  Cypress.Commands.add('lakegateEvents', (query) => task('events', query));
  Cypress.Commands.add('lakegateReset', () => task('reset'));
  Cypress.Commands.add('lakegateFault', (fault) => task('fault', fault));
}
