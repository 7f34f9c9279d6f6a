// Repairs dead letters: a patch is tried first, then replayed.
import { ask } from './api.js';
import { command, failed, field, findLink, h, put } from './dom.js';
import { quoted } from './first.js';
import { several } from './format.js';
import { suggestion } from './patch.js';

/** A text as a pattern that matches it: what patterns read otherwise stands for any character. */
const pattern = (text) => (text ?? '').replaceAll(/[*?|\\]/g, '?');

/** The conditions that select the letters of a group. */
export const conditions = ({ code, event_name, pointer, source, schema_version }) => [
  `code=${code}`, `event_name=${pattern(event_name)}`, `pointer=${pattern(pointer)}`, `source=${source}`, ...(schema_version ? [`version=${schema_version}`] : []),
];

/** What a replay did, or would do. */
function told({ dry_run, letters, accepted, duplicates, rejected, not_patched, already_accepted, retry, stopped, left }) {
  const counts = [
    [accepted, dry_run ? 'would be accepted' : 'accepted'], [duplicates, 'accepted before'], [rejected, 'still rejected'], [not_patched, 'without what the patch names'],
    [already_accepted, 'in conflict with an accepted event'], [retry, 'not stored: try again'],
  ].filter(([number]) => number).map(([number, what]) => `${number} ${what}`);
  return [
    h(letters && accepted + duplicates === letters ? 'p.good' : 'p.why', `${several(letters, 'event')}: ${counts.join(', ')}.${dry_run ? ' Nothing was changed.' : ''} ${stopped ?? ''}`),
    h('ul', left.groups.slice(0, 5).map(({ code, pointer, example_detail }) => h('li', h('code', code), pointer && ` at ${pointer}`, `: ${example_detail}`))),
  ];
}

/** The form for a group, with one of its letters as the example. */
export function repair(group, { letter, line }, event, { allow_changes, gateway }, repaired) {
  const found = suggestion(line, event);
  const uuid = line.event_uuid;
  const operations = (found?.operations ?? []).map((operation) => `  ${JSON.stringify(operation)}`).join(',\n');
  const patch = h('textarea', { id: `patch-${letter}`, rows: 4, spellcheck: 'false', input: () => untried() }, `[\n${operations}\n]`);
  const isForAll = !uuid || (group.count > 1 && found?.isForAll);
  const choice = (value, words, checked) => h('label', h('input', { type: 'radio', name: letter, value, checked, change: () => untried() }), words);
  const scope = h('fieldset', h('legend', 'For'), uuid && choice('one', 'this event', !isForAll), (group.count > 1 || !uuid) && choice('all', 'all with this fault', isForAll));
  const [result, shell] = [h('div.result', { role: 'status' }), h('div')];
  const go = h('button.main', { type: 'button', click: () => run(false) }, 'Replay');
  const dry = h('button', { type: 'button', click: () => run(true) }, 'Dry run');
  const where = () => (scope.querySelector('[value=one]')?.checked ? [`event_uuid=${uuid}`, `code=${group.code}`] : conditions(group));

  function untried() {
    go.disabled = true;
    put(result);
    // Who may change nothing here can do it there.
    put(shell, h('p.soft', !allow_changes && 'To replay from here, set allow_changes = true in [admin]. ', 'On the command line, with the patch in a file:'),
      command(`lakegate dead-letters replay --where ${where().map(quoted).join(' ')} --patch patch.json`, 'The command'));
  }

  async function run(dry_run) {
    dry.disabled = go.disabled = true;
    put(result, h('p.soft', 'Trying …'));
    try {
      const operations = JSON.parse(patch.value || '[]');
      const report = await ask('/admin/dead-letters/replay', { gateway, where: where(), dry_run, ...(operations.length ? { patch: operations } : {}) });
      const isGood = report.accepted + report.duplicates > 0;
      put(result, told(report), !dry_run && isGood && uuid && h('p', findLink(uuid, 'Where is the event now?')));
      go.disabled = !dry_run || !isGood || !allow_changes;
      if (!dry_run) repaired();
    } catch (error) {
      put(result, failed(error));
    }
    dry.disabled = false;
  }

  untried();
  return h('div.repair', h('h2', 'Repair'), h('p', found?.words ?? 'No patch mends this. If a new version of the schema accepts the event, replay it with an empty list.'),
    field('Patch', patch), scope, h('div.buttons', dry, go), result, shell);
}
