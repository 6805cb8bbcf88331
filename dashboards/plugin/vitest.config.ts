import { defineConfig } from 'vitest/config';

export default defineConfig({
  esbuild: { jsx: 'automatic' },
  test: {
    environment: 'jsdom',
    include: ['test/*.test.ts', 'test/*.test.tsx'],
    testTimeout: 30_000,
    // One process, which reads Perses' modules and MUI once.
    isolate: false,
    pool: 'forks',
    poolOptions: { forks: { singleFork: true } },
  },
});
