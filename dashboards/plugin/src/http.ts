// SPDX-License-Identifier: Apache-2.0
import { DatasourceSelector, fetch, HTTPDatasourceSpec, RequestHeaders } from '@perses-dev/core';
import { DatasourceStore, parseVariables, VariableStateMap } from '@perses-dev/plugin-system';

/** What the createClient of a datasource of this module gives to its queries. */
export interface HttpClient {
  url: string;
  headers?: RequestHeaders;
}

export function createHttpClient(spec: HTTPDatasourceSpec, { proxyUrl }: { proxyUrl?: string }): HttpClient {
  const url = spec.directUrl || proxyUrl;
  if (!url) {
    throw new Error('The datasource has neither a direct URL nor a proxy.');
  }
  return { url, headers: spec.proxy?.spec.headers };
}

/** What each query of this module has. */
export interface QuerySpec {
  query: string;
  datasource?: DatasourceSelector;
}

export function clientOf<Client = HttpClient>(
  store: DatasourceStore,
  kind: string,
  datasource: DatasourceSelector | undefined
): Promise<Client> {
  return store.getDatasourceClient<Client>(datasource ?? { kind });
}

/**
 * Answer of a path of the datasource, as text. An answer that is no success is thrown as an error that says what the
 * datasource said; Perses shows it in the panel.
 */
export async function getText(client: HttpClient, path: string, params?: Record<string, string>): Promise<string> {
  const query = params ? `?${new URLSearchParams(params)}` : '';
  const response = await fetch(`${client.url}${path}${query}`, { headers: client.headers });
  return response.text();
}

export async function getJson<T>(client: HttpClient, path: string, params?: Record<string, string>): Promise<T> {
  return JSON.parse(await getText(client, path, params)) as T;
}

/** The variables of a query that have no value yet: Perses asks again when they have. */
export function unresolved(query: string, state: VariableStateMap): string[] {
  return parseVariables(query).filter((name) => !name.startsWith('__') && state[name]?.value == null);
}
