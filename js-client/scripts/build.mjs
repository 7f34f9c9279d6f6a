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

/** For pages: every byte is paid for by every visitor. */
async function page(entry, file, format) {
  const built = await build({ ...common, entryPoints: [entry], format, minify: true, write: false });
  const { code } = await minify(built.outputFiles[0].text, {
    module: format === 'esm', toplevel: true, ecma: 2022, compress: { passes: 3, unsafe_arrows: true },
  });
  writeFileSync(join(dist, file), code);
}

execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', ROOT], { stdio: 'inherit' });
await Promise.all([
  page('src/index.ts', 'index.js', 'esm'),
  page('src/menu.ts', 'menu.js', 'esm'),
  page('src/core-script.ts', 'lakegate-core.js', 'iife'),
  page('src/script.ts', 'lakegate.js', 'iife'),
]);
await build({ ...common, entryPoints: ['src/node.ts'], format: 'esm', platform: 'node', target: 'node20', outfile: join(dist, 'node.js') });
// Types of what is inside only.
for (const file of ['script', 'core-script', 'spool', 'answer', 'uuid']) rmSync(join(dist, `${file}.d.ts`));
