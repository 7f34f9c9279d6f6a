// What a browser that is killed loses: `make browsers-kill`. Prints the table of README.md. A page tracks some events as it begins, and
// as many a second later; then all processes of the browser get SIGKILL, 0 to 0.9 s after the later ones. The same browser is started
// again with its profile, and sends what it finds. KILLS=10 has one at each tenth of a second, KILLS=5 at each fifth; DIST measures
// another build.
import { setTimeout as pause } from 'node:timers/promises';
import { Killable, Scene } from '../test/support/killed.mjs';
import { BROWSERS } from '../test/support/stage.mjs';

const COUNT = 10;
const kills = Number(process.env.KILLS || 10);
const delays = Array.from({ length: kills }, (_, index) => Math.round((index * 1000) / kills));
const { DIST } = process.env;

async function measure(name, durable, when) {
  const lost = { total: 0, byDelay: {} };
  const scene = await new Scene().start(DIST);
  try {
    for (const delay of delays) {
      const browser = new Killable(name);
      try {
        const options = { count: COUNT, ...(durable && { durable }), ...(when === 'later' && { later: 1 }) };
        await browser.start(scene.page(options));
        const ids = JSON.parse((await scene.said(when)).text);
        await pause(delay);
        await browser.kill();
        await browser.start(scene.page({ count: 0, ...(durable && { durable }), flush: 50 }));
        await scene.said('idle');
        await browser.kill();
        await pause(300);
        const lake = new Set((await scene.gateway.lake()).map((row) => row.event_uuid));
        const missing = ids.filter((id) => !lake.has(id)).length;
        lost.total += missing;
        if (missing) lost.byDelay[delay] = (lost.byDelay[delay] ?? 0) + missing;
      } finally {
        browser.close();
      }
    }
  } finally {
    await scene.stop();
  }
  return lost;
}

console.log(`lost of ${COUNT * delays.length} events, each; flushMs 2000`);
console.log('| tracked | stored in | browser | lost | lost by kill after ms |\n|---|---|---|---|---|');
const MODES = (process.env.STORAGE ?? 'localStorage,durable').split(',');
for (const { name, skip } of BROWSERS) {
  if (skip) continue;
  for (const storage of MODES) {
    for (const when of ['first', 'later']) {
      const { total, byDelay } = await measure(name, storage === 'durable' && 1, when);
      console.log(`| ${when} | ${storage} | ${name} | ${total} | ${JSON.stringify(byDelay)} |`);
    }
  }
}
