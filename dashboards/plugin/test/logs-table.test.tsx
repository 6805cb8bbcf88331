// SPDX-License-Identifier: Apache-2.0
import { LogEntry } from '@perses-dev/core';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { ReactNode } from 'react';
import { VirtuosoMockContext } from 'react-virtuoso';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { linkVariables, LogsTablePanel, LogsTableSpec } from '../src/logs-table';
import { parseLines } from '../src/victorialogs';
import { fixture } from './datasource';

vi.mock('@perses-dev/plugin-system', async (original) => {
  const { forwardRef } = await import('react');
  const RouterComponent = forwardRef<HTMLAnchorElement, { to: string; children: ReactNode }>(({ to, children }, ref) => (
    <a href={to} ref={ref}>
      {children}
    </a>
  ));
  return {
    ...(await original<object>()),
    useAllVariableValues: () => ({ __from: { loading: false, value: '1' }, __to: { loading: false, value: '2' } }),
    useRouterContext: () => ({ RouterComponent }),
  };
});

afterEach(cleanup);

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const entries = parseLines(fixture('victorialogs-query.jsonl'));
const spec: LogsTableSpec = {
  columns: ['service.name'],
  links: [{ field: 'trace_id', link: '/trace?var-trace=${trace_id}&start=${__from}&end=${__to}' }],
};

function show(lines: LogEntry[], hasMore = false): void {
  const data = { logs: { entries: lines, hasMore } } as never;
  render(<LogsTablePanel spec={spec} queryResults={[{ data, definition: {} as never }]} />, {
    wrapper: ({ children }: { children: ReactNode }) => (
      <VirtuosoMockContext.Provider value={{ viewportHeight: 300, itemHeight: 20 }}>{children}</VirtuosoMockContext.Provider>
    ),
  });
}

describe('the table', () => {
  it('says that there are none', () => {
    show([]);
    expect(screen.getByText('No log lines')).toBeTruthy();
  });

  it('shows lines with columns, of several lines the first', () => {
    show(entries);
    expect(screen.getAllByRole('row')).toHaveLength(3);
    expect(screen.getByText('Traceback (most recent call last): …')).toBeTruthy();
    expect(screen.getAllByText('business-logic')).toHaveLength(2);
  });

  it('opens a line by its button, with all of it and its fields, and closes it', () => {
    show(entries);
    const button = screen.getByRole('button', { name: /^ERROR/ });
    expect(button.getAttribute('aria-expanded')).toBe('false');
    fireEvent.click(button);
    expect(button.getAttribute('aria-expanded')).toBe('true');
    expect(screen.getByText(/ValueError: boom/)).toBeTruthy();
    expect(screen.getByText('k8s.pod.name')).toBeTruthy();
    expect(screen.queryByText('_stream_id')).toBeNull();
    fireEvent.click(button);
    expect(screen.queryByText('k8s.pod.name')).toBeNull();
  });

  it('leads to the trace and keeps the time range', () => {
    show(entries);
    fireEvent.click(screen.getByRole('button', { name: /09:56:35.100|09:56:35.099/ }));
    expect(screen.getByText(TRACE).closest('a')!.getAttribute('href')).toBe(`/trace?var-trace=${TRACE}&start=1&end=2`);
  });

  it('draws of 10,000 lines those in view', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => ({ timestamp: index, line: `line ${index}`, labels: {} }));
    show(many, true);
    expect(screen.getAllByRole('row').length).toBeGreaterThan(10);
    expect(screen.getAllByRole('row').length).toBeLessThan(100);
  });

  it('says where there are more lines than it has', () => {
    show(entries, true);
    expect(screen.getByText(/There are more lines/)).toBeTruthy();
  });
});

it('a field in a link is encoded, and named without dots', () => {
  const entry = { timestamp: 0, line: '', labels: { 'service.name': 'a b&c' } };
  expect(linkVariables(entry)).toEqual({ service_name: 'a%20b%26c' });
});
