import { defineConfig } from 'vitest/config';

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  test: {
    environment: 'jsdom',
    include: ['test/*.test.ts', 'test/*.test.tsx'],
    // Their modules import each other without endings, as bundlers read them.
    server: { deps: { inline: [/@perses-dev/, /@mui/, /mdi-material-ui/] } },
    testTimeout: 30_000,
  },
});
