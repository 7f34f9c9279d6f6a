// A browser that is killed: what `lakegate/durable` had stored is there when it is started again. `make browsers-kill` measures more.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { Killable, Scene } from '../support/killed.mjs';
import { BROWSERS } from '../support/stage.mjs';

/** From `track()` to the kill; localStorage alone loses all of it in all three browsers (README.md). */
const KILL_AFTER_MS = 300;

for (const { name, skip } of BROWSERS) {
  test(`${name} is killed while the gateway is away: lakegate/durable has all that was tracked ${KILL_AFTER_MS} ms before`, { skip }, async (t) => {
    const scene = await new Scene().start();
    const browser = new Killable(name);
    t.after(async () => {
      await browser.kill().catch(() => {});
      browser.close();
      await scene.stop();
    });
    await scene.gateway.stop();
    await browser.start(scene.page({ count: 10, later: 1, durable: 1 }));
    const ids = [...JSON.parse((await scene.said('first')).text), ...JSON.parse((await scene.said('later')).text)];
    // The kill is to come then, whatever has happened by then.
    await pause(KILL_AFTER_MS);
    await browser.kill();
    await scene.gateway.start();
    await browser.start(scene.page({ count: 0, durable: 1, flush: 50 }));
    assert.equal((await scene.said('found')).text, '20');
    await scene.said('idle');
    await scene.gateway.delivered(ids);
  });
}
