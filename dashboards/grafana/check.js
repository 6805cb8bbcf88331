// SPDX-License-Identifier: Apache-2.0
// Reads {queries: [{language, text}], dashboards: {name: dashboard}} from standard input, and says what is wrong with them
// as a list of sentences: queries by the grammars that Grafana's editors have, dashboards by Grafana's types.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parser as logql } from '@grafana/lezer-logql';
import { parser as traceql } from '@grafana/lezer-traceql';
import { parser as promql } from '@prometheus-io/lezer-promql';
import ts from 'typescript';

const PARSERS = { logql, promql, traceql };

/** What of a text is no sentence of a language. */
function mistakes({ language, text }) {
  const found = [];
  PARSERS[language].parse(text).iterate({
    enter({ type, from, to }) {
      if (type.isError) {
        found.push(`${language}: at ${from} ${JSON.stringify(text.slice(from, Math.max(to, from + 12)))} of ${JSON.stringify(text)}`);
      }
    },
  });
  return found;
}

/** What of a dashboard is not as Grafana's type has it. */
function mistyped(dashboards) {
  const sources = new Map(
    Object.entries(dashboards).map(([name, dashboard]) => [
      join(import.meta.dirname, `${name}.ts`),
      `import type { Dashboard } from '@grafana/schema';\nexport const dashboard: Dashboard = ${JSON.stringify(dashboard, null, 1)};\n`,
    ]),
  );
  const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.getSourceFile = (path, version, ...rest) =>
    sources.has(path) ? ts.createSourceFile(path, sources.get(path), version) : getSourceFile(path, version, ...rest);
  return ts.getPreEmitDiagnostics(ts.createProgram([...sources.keys()], options, host)).map(({ file, start, messageText }) => {
    const said = ts.flattenDiagnosticMessageText(messageText, ' ');
    return file ? `${file.fileName}:${file.getLineAndCharacterOfPosition(start).line + 1}: ${said}` : said;
  });
}

const { queries = [], dashboards = {} } = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify([...queries.flatMap(mistakes), ...mistyped(dashboards)]));
