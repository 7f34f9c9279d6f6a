// Writes src/events.ts from the schema registry: one type per event, so that a wrong payload does not compile.
// `--check` writes nothing and fails where the file is stale. `--schemas FOLDER --out FILE` does it for a registry of one's own.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compile } from 'json-schema-to-typescript';

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
// Written by the client or by the gateway, never by who calls track().
const ENVELOPE = [
  'event_uuid', 'event_name', 'created_at', 'schema_version',
  'created_datetime', 'event_type', 'event_subtype', 'received_datetime', 'source',
];

const { values: options } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    schemas: { type: 'string', default: join(HERE, '../schemas') },
    out: { type: 'string', default: join(HERE, 'src/events.ts') },
  },
});

const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
const at = (document, pointer) =>
  pointer.split('/').slice(1).reduce((value, part) => value[part.replaceAll('~1', '/').replaceAll('~0', '~')], document);

/** `schema` with its references replaced by what they refer to, and without what a type cannot say. */
function inline(schema, document) {
  if (Array.isArray(schema)) return schema.map((member) => inline(member, document));
  if (schema === null || typeof schema !== 'object') return schema;
  const { $ref, $schema, $defs, examples, title, ...own } = schema;
  const members = Object.fromEntries(Object.entries(own).map(([name, value]) => [name, inline(value, document)]));
  if (!$ref) return members;
  const [file, pointer = ''] = $ref.split('#');
  const other = file ? read(join(options.schemas, file)) : document;
  return { ...inline(at(other, pointer), other), ...members };
}

/** The newest version of an event: it judges unless the event names an older one. */
function newest(folder) {
  const versions = readdirSync(folder).map((file) => /^(\d+)\.json$/.exec(file)?.[1]).filter(Boolean).map(Number);
  return versions.length ? Math.max(...versions) : undefined;
}

function* events(folder) {
  const version = newest(folder);
  if (version) {
    const document = read(join(folder, `${version}.json`));
    const { properties = {}, required = [], description } = inline(document, document);
    const fields = (names) => names.filter((name) => !ENVELOPE.includes(name));
    yield [relative(options.schemas, folder).split(sep).join(':'), {
      description: `${description}\n\nVersion ${version} of its schema.`,
      type: 'object',
      properties: Object.fromEntries(fields(Object.keys(properties)).map((name) => [name, properties[name]])),
      required: fields(required),
      additionalProperties: false,
    }];
  }
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory() && !(folder === options.schemas && entry.name === 'common')) yield* events(join(folder, entry.name));
  }
}

const properties = Object.fromEntries(events(options.schemas));
const text = await compile(
  {
    description: 'The fields of every event, by its name, without those that the client and the gateway write.',
    type: 'object', properties, required: Object.keys(properties), additionalProperties: false,
  },
  'Events',
  {
    bannerComment: '// Written by `npm run generate` from schemas/; do not edit.',
    // Tuples of every length up to 500 are no use to anyone.
    ignoreMinAndMaxItems: true,
    style: { singleQuote: true, printWidth: 120 },
  },
);

if (options.check) {
  if (readFileSync(options.out, 'utf8') !== text) {
    console.error(`${relative(process.cwd(), options.out)} is stale: npm run generate`);
    process.exit(1);
  }
} else {
  writeFileSync(options.out, text);
}
