// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

// Of jsdom is the URL here, which has no files.
const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const { perses } = JSON.parse(read('package.json')) as { perses: { plugins: Array<{ kind: string; spec: { name: string } }> } };
const names = perses.plugins.map(({ spec }) => spec.name).sort();

it('each plugin is exposed and exported by its name', () => {
  const exposed = [...read('rsbuild.config.ts').matchAll(/^ {2}(\w+): '\.\/(src\/\S+)',$/gm)];
  expect(exposed.map(([, name]) => name).sort()).toEqual(names);
  for (const [, name, file] of exposed) {
    expect(read(file!)).toMatch(new RegExp(`^export const ${name}: `, 'm'));
  }
});

it('each plugin has a schema of its kind', () => {
  const files = readdirSync(join(root, 'schemas'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.cue'));
  const kinds = files.map((file) => /^kind: "(\w+)"$/m.exec(read(`schemas/${file}`))?.[1]);
  expect(kinds.sort()).toEqual(names);
});
