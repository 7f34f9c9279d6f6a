// Repairs dead letters: a patch, tried first, then replayed.
import { ask, Problem } from './api.js';
import { command, el, put, said } from './dom.js';
import { several } from './format.js';
import { suggestion, written } from './patch.js';

/** @typedef {import('./types.js').Group} Group */
/** @typedef {import('./types.js').Letter} Letter */
/** @typedef {import('./types.js').Replayed} Replayed */

/** A text as a pattern that matches it: what patterns read otherwise stands for any character. @param {string} text */
const pattern = (text) => text.replaceAll(/[*?|\\]/g, '?');

/** The conditions that select the letters of a group. @param {Group} group */
export const conditions = (group) => [
  `code=${pattern(group.code)}`, `event_name=${pattern(group.event_name ?? '')}`, `pointer=${pattern(group.pointer)}`, `source=${pattern(group.source)}`,
  ...(group.schema_version ? [`version=${group.schema_version}`] : []),
];

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What a replay did, or would do. @param {Replayed} report */
function told(report) {
  const { dry_run, letters, accepted, duplicates, rejected, not_patched, already_accepted, retry } = report;
  /** @type {[number, string][]} */
  const counts = [
    [accepted, dry_run ? 'would be accepted' : 'accepted'], [duplicates, 'had been accepted before'], [rejected, 'still rejected'],
    [not_patched, 'without what the patch names'], [already_accepted, 'in conflict with an accepted event'], [retry, 'not stored: try again'],
  ];
  const words = counts.filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(', ');
  return [
    el('p', { class: accepted + duplicates === letters && letters ? 'good' : 'why' }, `${several(letters, 'event')}${words ? `: ${words}` : ''}.${dry_run ? ' Nothing was changed.' : ''}${report.stopped ? ` ${report.stopped}` : ''}`),
    report.left.groups.length ? el('ul', {}, ...report.left.groups.slice(0, 5).map((group) => el('li', {}, el('code', {}, group.code), group.pointer && ` at ${group.pointer}`, `: ${group.example_detail}`))) : null,
  ];
}

/**
 * The form for a group, with one of its letters as the example.
 * @param {Group} group @param {Letter} letter @param {unknown} event @param {import('./types.js').Settings} settings @param {() => void} repaired
 */
export function repair(group, letter, event, settings, repaired) {
  const fault = { pointer: letter.line.pointer, detail: letter.line.detail };
  const found = suggestion(fault, event);
  const id = letter.letter;
  const patch = el('textarea', { id: `patch-${id}`, rows: 4, spellcheck: 'false', 'aria-describedby': `words-${id}`, oninput: () => untried() }, written(found?.operations ?? []));
  const uuid = letter.line.event_uuid;
  /** @param {string} value @param {string} words @param {boolean} isChosen */
  const choice = (value, words, isChosen) => el('label', {}, el('input', { type: 'radio', name: `scope-${id}`, value, checked: isChosen, onchange: () => untried() }), words);
  const isForAll = !uuid || group.count === 1 || (found?.isForAll ?? false);
  const scope = el('fieldset', {}, el('legend', {}, 'For'), uuid && group.count > 1 ? choice('one', 'this event', !isForAll) : null, choice('all', group.count === 1 ? 'this event' : `all ${group.count} with this fault`, isForAll));
  const result = el('div', { role: 'status', class: 'result' });
  const shell = el('div');
  const go = el('button', { type: 'button', class: 'main', disabled: true, onclick: () => run(false) }, 'Replay');
  const dry = el('button', { type: 'button', onclick: () => run(true) }, 'Dry run');
  const form = el('div', { class: 'repair' },
    el('h3', {}, 'Repair'), el('p', { id: `words-${id}` }, found?.words ?? 'No patch mends this by itself. If a new version of the schema accepts the event, replay it without a patch: leave the list empty.'),
    el('label', { for: `patch-${id}` }, 'Patch'), patch, scope, el('div', { class: 'buttons' }, dry, go), result, shell);

  const chosen = () => (uuid && form.querySelector(`input[value=one]:checked`) ? [`event_uuid=${uuid}`, `code=${group.code}`] : conditions(group));

  function untried() {
    go.disabled = true;
    put(result);
    // Who may change nothing here can do it there.
    put(shell, el('p', { class: 'soft' }, settings.allow_changes ? 'The same on the command line, with the patch in a file:' : 'The console may change nothing here: set allow_changes = true in [admin] to replay from it. The command line may, with the patch in a file:'),
      command(`lakegate dead-letters replay --where ${chosen().map(quoted).join(' ')} --patch patch.json`, 'The same on the command line'));
  }

  /** @param {boolean} dry_run */
  async function run(dry_run) {
    dry.disabled = go.disabled = true;
    put(result, el('p', { class: 'soft' }, dry_run ? 'Trying …' : 'Replaying …'));
    try {
      const operations = JSON.parse(patch.value || '[]');
      const body = { gateway: settings.gateway, where: chosen(), dry_run, ...(operations.length ? { patch: operations } : {}) };
      const report = /** @type {Replayed} */ (await ask('/admin/dead-letters/replay', body));
      const isDone = !dry_run && report.accepted + report.duplicates > 0;
      put(result, ...told(report), isDone && uuid ? el('p', {}, el('a', { href: `#/find/${encodeURIComponent(uuid)}` }, 'Where is the event now?')) : null);
      go.disabled = !dry_run || !settings.allow_changes || !(report.accepted + report.duplicates);
      if (isDone) repaired();
    } catch (error) {
      put(result, el('p', { class: 'why' }, error instanceof SyntaxError ? `The patch is not JSON: ${error.message}` : said(error)),
        error instanceof Problem && error.code === 'changes_not_allowed' ? el('p', {}, 'Set allow_changes = true in [admin] of the configuration, and restart the gateway.') : null);
    }
    dry.disabled = false;
  }

  untried();
  return form;
}
