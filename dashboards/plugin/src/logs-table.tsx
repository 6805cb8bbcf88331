// SPDX-License-Identifier: Apache-2.0
import { NoDataOverlay } from '@perses-dev/components';
import { LogData, LogEntry } from '@perses-dev/core';
import {
  OptionsEditorProps,
  PanelPlugin,
  PanelProps,
  replaceVariablesInString,
  useAllVariableValues,
  useRouterContext,
} from '@perses-dev/plugin-system';
import { Box, Link, TextField, Typography } from '@mui/material';
import { ReactElement, useMemo, useState } from 'react';
import { Virtuoso } from 'react-virtuoso';

export interface LogsTableSpec {
  /** Fields shown between the time and the text. */
  columns?: string[];
  /**
   * Links on the value of a field. `${field}` stands for a field of the line, with `_` for each character of its name that
   * is no letter or digit; variables of the dashboard as everywhere.
   */
  links?: Array<{ field: string; link: string }>;
}

type LogsTableProps = PanelProps<LogsTableSpec, LogData>;

// Of the theme, so that they are seen in light and dark.
const COLOURS: Record<string, string> = {
  FATAL: 'error.main',
  CRITICAL: 'error.main',
  ERROR: 'error.main',
  WARN: 'warning.main',
  WARNING: 'warning.main',
  INFO: 'info.main',
};

const severity = (entry: LogEntry): string =>
  (entry.labels['severity_text'] || entry.labels['level'] || entry.labels['severity'] || '').toUpperCase();

/** What `${…}` of a link stands for on this line. */
export function linkVariables(entry: LogEntry): Record<string, string> {
  const fields = Object.entries(entry.labels);
  return Object.fromEntries(fields.map(([name, value]) => [name.replace(/\W/g, '_'), encodeURIComponent(value)]));
}

function FieldValue({ entry, field, spec }: { entry: LogEntry; field: string; spec: LogsTableSpec }): ReactElement {
  const { RouterComponent } = useRouterContext();
  const variables = useAllVariableValues();
  const value = entry.labels[field] ?? '';
  const template = spec.links?.find((candidate) => candidate.field === field)?.link;
  if (!template || !value || !RouterComponent) {
    return <>{value}</>;
  }
  return (
    <Link component={RouterComponent} to={replaceVariablesInString(template, variables, linkVariables(entry))}>
      {value}
    </Link>
  );
}

interface RowProps {
  entry: LogEntry;
  spec: LogsTableSpec;
  open: boolean;
  onToggle: () => void;
}

function Row({ entry, spec, open, onToggle }: RowProps): ReactElement {
  const time = new Date(entry.timestamp * 1000);
  const level = severity(entry);
  return (
    <Box role="row" sx={{ borderLeft: 4, borderColor: COLOURS[level] ?? 'divider', pl: 1, py: 0.25 }}>
      <Box sx={{ display: 'flex', gap: 2, fontFamily: 'monospace', fontSize: 13 }}>
        <Box
          component="button"
          type="button"
          aria-expanded={open}
          aria-label={`${level} ${time.toISOString()}`.trim()}
          onClick={onToggle}
          sx={{
            all: 'unset',
            cursor: 'pointer',
            whiteSpace: 'nowrap',
            '&:focus-visible': { outline: '2px solid', outlineColor: 'primary.main' },
          }}
        >
          {open ? '▾' : '▸'} <time dateTime={time.toISOString()}>{localTime(time)}</time>
        </Box>
        {(spec.columns ?? []).map((field) => (
          <Box key={field} sx={{ whiteSpace: 'nowrap' }}>
            <FieldValue entry={entry} field={field} spec={spec} />
          </Box>
        ))}
        <Box sx={{ wordBreak: 'break-word', whiteSpace: 'pre-wrap' }}>{open ? entry.line : firstLine(entry.line)}</Box>
      </Box>
      {open && <Fields entry={entry} spec={spec} />}
    </Box>
  );
}

function Fields({ entry, spec }: { entry: LogEntry; spec: LogsTableSpec }): ReactElement {
  // Those that begin with _ are the store's own.
  const names = Object.keys(entry.labels).filter((name) => !name.startsWith('_') && entry.labels[name] !== '');
  return (
    <Box component="dl" sx={{ display: 'grid', gridTemplateColumns: 'max-content 1fr', columnGap: 2, m: 0, pl: 3, fontSize: 12 }}>
      {names.sort().map((field) => (
        <Box key={field} sx={{ display: 'contents' }}>
          <Box component="dt" sx={{ color: 'text.secondary' }}>
            {field}
          </Box>
          <Box component="dd" sx={{ m: 0, wordBreak: 'break-all' }}>
            <FieldValue entry={entry} field={field} spec={spec} />
          </Box>
        </Box>
      ))}
    </Box>
  );
}

const firstLine = (text: string): string => {
  const end = text.indexOf('\n');
  return end < 0 ? text : `${text.slice(0, end)} …`;
};

const two = (value: number): string => String(value).padStart(2, '0');

/** As other panels tell it: the reader's own time. */
const localTime = (time: Date): string =>
  `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ` +
  `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;

/** Lines of all queries, the newest first; a LogQuery's result comes as { logs } although its type says LogData. */
export function entriesOf(results: LogsTableProps['queryResults']): { entries: LogEntry[]; hasMore: boolean } {
  const found = results.map(({ data }) => (data as unknown as { logs?: LogData })?.logs ?? data);
  const entries = found.flatMap((logs) => logs?.entries ?? []);
  return {
    entries: found.length > 1 ? entries.sort((a, b) => b.timestamp - a.timestamp) : entries,
    hasMore: found.some((logs) => logs?.hasMore === true),
  };
}

export function LogsTablePanel({ spec, queryResults }: LogsTableProps): ReactElement {
  const { entries, hasMore } = useMemo(() => entriesOf(queryResults), [queryResults]);
  // Lines come and go as they are scrolled to; which are open is kept here, by what they are.
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  if (entries.length === 0) {
    return <NoDataOverlay resource="log lines" />;
  }
  const toggle = (key: string): void => {
    const next = new Set(open);
    if (!next.delete(key)) {
      next.add(key);
    }
    setOpen(next);
  };
  return (
    <Box role="table" aria-label="Log lines" aria-rowcount={entries.length} sx={{ height: '100%', p: 1 }}>
      <Virtuoso
        data={entries}
        style={{ height: '100%' }}
        increaseViewportBy={200}
        itemContent={(_index, entry) => {
          const key = keyOf(entry);
          return <Row entry={entry} spec={spec} open={open.has(key)} onToggle={() => toggle(key)} />;
        }}
        components={hasMore ? WITH_FOOTER : NO_FOOTER}
      />
    </Box>
  );
}

// Virtuoso takes no undefined here.
const NO_FOOTER = {};
const WITH_FOOTER = { Footer: More };

const keyOf = (entry: LogEntry): string => `${entry.labels['_stream_id'] ?? ''} ${entry.timestamp} ${entry.line}`;

function More(): ReactElement {
  return (
    <Typography variant="body2" sx={{ p: 1, color: 'text.secondary' }}>
      There are more lines than are asked for: choose a shorter time or fewer of them.
    </Typography>
  );
}

function ColumnsEditor({ value, onChange, isReadonly }: OptionsEditorProps<LogsTableSpec>): ReactElement {
  return (
    <TextField
      label="Columns (fields, separated by commas)"
      fullWidth
      disabled={isReadonly}
      value={(value.columns ?? []).join(',')}
      onChange={(event) => onChange({ ...value, columns: event.target.value.split(',').map((field) => field.trim()) })}
    />
  );
}

export const LogsTable: PanelPlugin<LogsTableSpec, LogsTableProps> = {
  PanelComponent: LogsTablePanel,
  supportedQueryTypes: ['LogQuery'],
  panelOptionsEditorComponents: [{ label: 'Settings', content: ColumnsEditor }],
  createInitialOptions: () => ({ columns: ['service.name'] }),
};
