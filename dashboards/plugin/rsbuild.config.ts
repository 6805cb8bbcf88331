import { pluginModuleFederation } from '@module-federation/rsbuild-plugin';
import { defineConfig } from '@rsbuild/core';
import { pluginReact } from '@rsbuild/plugin-react';

// The folder that Perses serves the module under, and its `moduleName` in the list of plugins.
const NAME = 'Observability';
const EXPOSED = {
  VictoriaLogsDatasource: './src/victorialogs.ts',
  VictoriaLogsLogQuery: './src/victorialogs.ts',
  VictoriaLogsTimeSeriesQuery: './src/victorialogs.ts',
  VictoriaLogsFieldValuesVariable: './src/victorialogs.ts',
  LogsTable: './src/logs-table.tsx',
  JaegerDatasource: './src/jaeger.ts',
  JaegerTraceQuery: './src/jaeger.ts',
  JaegerServicesVariable: './src/jaeger.ts',
  PrometheusExemplarsQuery: './src/exemplars.ts',
};
// Perses' page has these at run time; `import: false` keeps a second copy out of ours.
const FROM_HOST = [
  'react',
  'react-dom',
  '@perses-dev/core',
  '@perses-dev/components',
  '@perses-dev/plugin-system',
  '@emotion/react',
  '@emotion/styled',
];

export default defineConfig({
  source: { entry: { main: './src/index.ts' } },
  output: { assetPrefix: `/plugins/${NAME}/`, distPath: { root: 'dist', js: '__mf/js', css: '__mf/css' } },
  tools: {
    htmlPlugin: false,
    rspack: (config) => {
      config.output = { ...config.output, publicPath: 'auto' };
    },
  },
  plugins: [
    pluginReact(),
    pluginModuleFederation({
      name: NAME,
      dts: false,
      exposes: Object.fromEntries(Object.entries(EXPOSED).map(([name, file]) => [`./${name}`, file])),
      shared: Object.fromEntries(
        FROM_HOST.map((name) => [name, { singleton: true, import: false, requiredVersion: false }])
      ),
    }),
  ],
});
