// SPDX-License-Identifier: Apache-2.0
import { DatasourceSelector, HTTPDatasourceSpec } from '@perses-dev/core';
import {
  DatasourceSelect,
  DatasourceSelectValue,
  HTTPSettingsEditor,
  OptionsEditorProps,
} from '@perses-dev/plugin-system';
import { TextField } from '@mui/material';
import { ReactElement, useState } from 'react';
import { QuerySpec } from './http';

/** Settings of a datasource that is asked by GET on some paths (regular expressions), by Perses' proxy or directly. */
export function httpSettings(...endpoints: string[]) {
  const proxy: HTTPDatasourceSpec = {
    proxy: {
      kind: 'HTTPProxy',
      spec: { url: '', allowedEndpoints: endpoints.map((endpointPattern) => ({ method: 'GET', endpointPattern })) },
    },
  };
  return function HttpSettings(props: OptionsEditorProps<HTTPDatasourceSpec>): ReactElement {
    return <HTTPSettingsEditor {...props} initialSpecDirect={{ directUrl: '' }} initialSpecProxy={proxy} />;
  };
}

interface EditorProps<Spec> {
  value: Spec;
  onChange: (next: Spec) => void;
  isReadonly?: boolean;
}

/** One line of text that counts when the field loses the focus, or by Enter. */
function Line({ label, value, onChange, isReadonly }: EditorProps<string> & { label: string }): ReactElement {
  const [text, setText] = useState(value);
  const done = (): void => {
    if (text !== value) {
      onChange(text);
    }
  };
  return (
    <TextField
      label={label}
      value={text}
      fullWidth
      margin="dense"
      disabled={isReadonly}
      onChange={(event) => setText(event.target.value)}
      onBlur={done}
      onKeyDown={(event) => event.key === 'Enter' && done()}
    />
  );
}

/** Editor of a datasource and some lines of text; labels: name of the member → what it is called. */
export function linesEditor<Spec extends { datasource?: DatasourceSelector }>(
  kind: string,
  labels: Partial<Record<keyof Spec & string, string>>
) {
  return function LinesEditor({ value, onChange, isReadonly }: OptionsEditorProps<Spec>): ReactElement {
    const members = Object.entries(labels) as Array<[keyof Spec & string, string]>;
    return (
      <>
        <DatasourceSelect
          datasourcePluginKind={kind}
          value={value.datasource ?? { kind }}
          onChange={(next: DatasourceSelectValue) => onChange({ ...value, datasource: next as DatasourceSelector })}
          label="Datasource"
          notched
          readOnly={isReadonly}
        />
        {members.map(([member, label]) => (
          <Line
            key={member}
            label={label}
            value={String(value[member] ?? '')}
            onChange={(text) => onChange({ ...value, [member]: text })}
            isReadonly={isReadonly}
          />
        ))}
      </>
    );
  };
}

export function queryEditor<Spec extends QuerySpec>(kind: string, label: string) {
  return linesEditor<Spec>(kind, { query: label } as Partial<Record<keyof Spec & string, string>>);
}
