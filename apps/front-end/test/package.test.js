// The packaging keeps its promises.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');

test('package-lock.json names no registry and has a sum for every package', () => {
  const { version, packages } = JSON.parse(read('package-lock.json'));
  assert.equal(version, JSON.parse(read('package.json')).version);
  for (const [path, entry] of Object.entries(packages)) {
    assert.equal(entry.resolved, undefined, path);
    if (path !== '') assert.match(entry.integrity, /^sha512-/, path);
  }
});

test('the packages of the image have no install scripts, which the image would not run', () => {
  const { packages } = JSON.parse(read('package-lock.json'));
  const scripted = Object.entries(packages).filter(([, entry]) => entry.hasInstallScript && !entry.dev);
  assert.deepEqual(scripted, []);
});

test('colours have contrast enough, in light and in dark', () => {
  const [, light, dark] = /:root \{(.*?)\}.*?:root \{(.*?)\}/s.exec(read('src/public/style.css'));
  const luminance = (hex) => {
    const [r, g, b] = [1, 3, 5]
      .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // WCAG 2.2: text 4.5, edges of controls 3.
  const pairs = [
    ['ink', 'paper', 4.5], ['ink', 'sheet', 4.5], ['soft', 'paper', 4.5], ['soft', 'sheet', 4.5],
    ['accent', 'paper', 4.5], ['accent', 'sheet', 4.5], ['accent-ink', 'accent', 4.5],
    ['good', 'sheet', 4.5], ['bad', 'sheet', 4.5], ['bad', 'bad-wash', 4.5], ['ink', 'good-wash', 4.5],
    ['ink', 'bad-wash', 4.5], ['edge', 'paper', 3], ['edge', 'sheet', 3],
  ];
  for (const [scheme, block] of [['light', light], ['dark', dark]]) {
    const declarations = [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})\b/g)];
    const colours = Object.fromEntries(declarations.map(([, name, hex]) => [name, hex]));
    for (const [one, other, least] of pairs) {
      const [low, high] = [luminance(colours[one]), luminance(colours[other])].sort((a, b) => a - b);
      const ratio = (high + 0.05) / (low + 0.05);
      assert(ratio >= least, `${scheme}: ${one} on ${other} has ${ratio.toFixed(2)}, needs ${least}`);
    }
  }
});
