// Builds dist/: ESM for bundlers and Node, plain scripts for pages, and the types.
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(ROOT, 'dist');
rmSync(dist, { recursive: true, force: true });

const common = { absWorkingDir: ROOT, bundle: true, target: 'es2022', logLevel: 'warning' };

/** Loaded by a page only where `debug` is on, from beside whatever asks for it. */
const DEBUG = './lakegate-debug.js';

/** For pages: every byte is paid for by every visitor. A script is wrapped here, since esbuild would make `import()` of it a `require`. */
async function page(entry, file, isModule = false) {
  const built = await build({ ...common, entryPoints: [entry], format: 'esm', external: [DEBUG], minify: true, write: false });
  const [{ text }] = built.outputFiles;
  const { code } = await minify(isModule ? text : `(()=>{${text}})()`, {
    module: isModule, toplevel: true, ecma: 2022, compress: { passes: 3, unsafe_arrows: true },
  });
  writeFileSync(join(dist, file), code);
}

execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', ROOT], { stdio: 'inherit' });
await Promise.all([
  page('src/index.ts', 'index.js', true),
  page('src/menu.ts', 'menu.js', true),
  page('src/durable.ts', 'durable.js', true),
  page('src/lakegate-debug.ts', 'lakegate-debug.js', true),
  page('src/durable-script.ts', 'lakegate-durable.js'),
  page('src/core-script.ts', 'lakegate-core.js'),
  page('src/script.ts', 'lakegate.js'),
]);
await build({ ...common, entryPoints: ['src/node.ts'], format: 'esm', platform: 'node', target: 'node20', outfile: join(dist, 'node.js') });
// Types of what is inside only.
for (const file of ['script', 'core-script', 'durable-script', 'lakegate-debug', 'check-menu', 'explain', 'spool', 'answer', 'uuid']) rmSync(join(dist, `${file}.d.ts`));
