// What a page must be for everybody, measured in a real browser: no fault that axe knows, nothing wider than the screen, no tiny text.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from './gateway.mjs';

const AXE = readFileSync(join(ROOT, 'js-client/node_modules/axe-core/axe.min.js'), 'utf8');
const FONT_PX_MIN = 12;
export const WIDTHS = { 390: { width: 390, height: 844 }, 1440: { width: 1440, height: 900 } };
export const SCHEMES = ['light', 'dark'];

/** Gives the tab a width and a colour scheme. */
export async function look(tab, width, scheme) {
  await tab.page.setViewport({ ...WIDTHS[width], deviceScaleFactor: 1 });
  await tab.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
}

/** Faults by the rules of WCAG 2 and axe's best practices, as lines to read. */
export async function faults(tab) {
  // As the page's own text, and not by a tag: a Content Security Policy may be strict.
  await tab.page.evaluate(AXE);
  const { violations } = await tab.run(async () => {
    // What moves has its first colours when it comes and its last when it is there. People read both; what comes meanwhile is
    // held at its first, so that no answer depends on the moment.
    const first = new CSSStyleSheet();
    first.replaceSync('* { animation-play-state: paused !important }');
    const judge = () => axe.run({ iframes: false, resultTypes: ['violations'] });
    for (const animation of document.getAnimations()) animation.finish();
    document.adoptedStyleSheets.push(first);
    const there = await judge();
    // A node that is put back begins its animation anew.
    for (const node of document.querySelectorAll('body *')) {
      if (getComputedStyle(node).animationName !== 'none') node.replaceWith(node);
    }
    const coming = await judge();
    document.adoptedStyleSheets.pop();
    return { violations: [...there.violations, ...coming.violations] };
  });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary.replaceAll('\n', ' ')}`));
}

/** Text smaller than a person reads, and what makes the page wider than the screen. */
export const measured = (tab, min = FONT_PX_MIN) => tab.run((min) => {
  const small = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility() || parent.matches('script, style')) continue;
    // Text in a picture is scaled with it.
    const scale = parent.ownerSVGElement ? parent.getBoundingClientRect().height / parent.getBBox().height : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
    if (size < min) small.push(`${size} px: ${walker.currentNode.data.trim().slice(0, 30)}`);
  }
  return { small, wider: document.documentElement.scrollWidth - document.documentElement.clientWidth };
}, min);

/** All of it, at both widths and in both schemes; `at` is called for each, before it is measured. */
export async function isForEverybody(tab, name, at = async () => {}) {
  for (const width of Object.keys(WIDTHS)) {
    for (const scheme of SCHEMES) {
      await look(tab, width, scheme);
      await at(width, scheme);
      assert.deepEqual(await measured(tab), { small: [], wider: 0 }, `${name} at ${width} px`);
      assert.deepEqual(await faults(tab), [], `${name} at ${width} px, ${scheme}`);
      await picture(tab, name, `${width}-${scheme}`);
    }
  }
}

/** The pages that docs/ shows in all their looks, and those of which one is enough. */
const SHOWN = ['insights', 'demo', 'console', 'console-live', 'console-rejections'];
const SHOWN_ONCE = ['console-schemas', 'console-find', 'console-ledger', 'console-keys', 'console-fleet'];
const ONCE = '1440-light';

/** Only where somebody asks for pictures: `make pictures`. */
async function picture(tab, name, variant) {
  const folder = process.env.LAKEGATE_PICTURES && resolve(ROOT, process.env.LAKEGATE_PICTURES);
  if (!folder || !(SHOWN.includes(name) || (SHOWN_ONCE.includes(name) && variant === ONCE))) return;
  mkdirSync(folder, { recursive: true });
  const { width, height } = await tab.run(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  // As much as fits into a file that a page of docs loads at once.
  const clip = { x: 0, y: 0, width, height: Math.min(height, width < 600 ? 1700 : 900) };
  await tab.page.screenshot({ path: join(folder, `${name}-${variant}.jpg`), type: 'jpeg', quality: 75, clip, captureBeyondViewport: true });
}
