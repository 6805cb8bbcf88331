// SPDX-License-Identifier: Apache-2.0
// A datasource that answers what a file of fixtures/ has, and what it was asked.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatasourceStore } from '@perses-dev/plugin-system';
import { vi } from 'vitest';

export const fixture = (name: string): string => readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8');
export const parsed = <T>(name: string): T => JSON.parse(fixture(name)) as T;

export const RANGE = { start: new Date('2026-11-30T09:00:00Z'), end: new Date('2026-11-30T10:00:00Z') };

/** answers: path → name of a fixture, with its status where it is not 200. */
export function datasource(answers: Record<string, string | [status: number, name: string]>): {
  store: DatasourceStore;
  asked: URL[];
} {
  const asked: URL[] = [];
  vi.stubGlobal('fetch', async (address: string) => {
    const url = new URL(address, 'http://perses.test');
    asked.push(url);
    const answer = answers[url.pathname.replace('/proxy', '')];
    if (answer === undefined) {
      throw new Error(`nobody expects a question for ${url.pathname}`);
    }
    const [status, name] = typeof answer === 'string' ? [200, answer] : answer;
    return new Response(fixture(name), { status, headers: { 'content-type': 'text/plain' } });
  });
  const client = { url: '/proxy', options: { datasourceUrl: '/proxy' } };
  return { store: { getDatasourceClient: async () => client } as unknown as DatasourceStore, asked };
}
