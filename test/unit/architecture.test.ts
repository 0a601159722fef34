// The structure that docs/architecture.md describes: who may depend on whom, and the house style.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findViolations, type Rule } from '../helpers/dependency-rules.js';

const root = resolve(import.meta.dirname, '../..');

function filesUnder(folder: string, pattern: RegExp): string[] {
  const path = join(root, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => join(folder, name))
    .sort();
}

const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Folder of src/ → folders it may import from, besides itself. `.` is a file directly in src/. */
const typescriptRules: Rule = {
  '.': [
    'server',
    'client',
    'admin',
    'metrics',
    'workers',
    'admission',
    'connection',
    'handshake',
    'rdma',
    'native',
  ],
  cli: ['.', 'bench', 'config', 'native', 'processes', 'stress'],
  bench: ['.', 'rdma', 'native', 'processes'],
  stress: ['.', 'client', 'connection', 'handshake', 'rdma', 'native', 'processes'],
  processes: ['.', 'native'],
  config: ['.', 'workers'],
  admin: ['.', 'admission', 'metrics', 'server', 'connection', 'rdma', 'native'],
  metrics: ['.', 'admission', 'server', 'connection', 'rdma', 'native'],
  server: ['.', 'workers', 'admission', 'connection', 'handshake', 'rdma', 'native'],
  workers: ['.', 'admission', 'connection', 'handshake', 'rdma', 'native'],
  client: ['.', 'admission', 'connection', 'handshake', 'rdma', 'native'],
  connection: ['.', 'admission', 'rdma', 'native'],
  admission: ['.'],
  handshake: ['.', 'rdma', 'native'],
  rdma: ['.', 'native'],
  native: ['.'],
};

/** Folder of native/ → folders it may include from, besides itself. */
const nativeRules: Rule = {
  addon: ['verbs', 'util'],
  verbs: ['util'],
  'soft/abi': ['soft/engine', 'soft/io', 'soft/shm', 'soft/wire', 'util'],
  'soft/engine': ['soft/wire', 'util'],
  'soft/io': ['soft/wire', 'util'],
  'soft/shm': ['soft/wire', 'util'],
  'soft/wire': ['util'],
  util: [],
};

function typescriptImports(path: string): string[] {
  return [...read(path).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, target]) =>
    relative('src', join(dirname(path), target ?? '')),
  );
}

function nativeIncludes(path: string): string[] {
  return [...read(path).matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].map(
    ([, target]) => target ?? '',
  );
}

const tsFiles = filesUnder('src', /\.ts$/);
const nativeFiles = filesUnder('native', /\.(cc|h)$/);
const nativeTests = filesUnder('test', /\.(cc|h)$/);
const testFiles = filesUnder('test', /\.ts$/);
const scripts = filesUnder('scripts', /\.(mjs|sh)$/);

describe('dependency direction', () => {
  it('runs downwards in TypeScript', () => {
    const edges = tsFiles.flatMap((path) =>
      typescriptImports(path).map((target) => ({ from: relative('src', path), to: target })),
    );
    expect(edges.length).toBeGreaterThan(0);
    expect(findViolations(edges, typescriptRules)).toEqual([]);
  });

  it('lets the layers below the public API import nothing but errors.ts from the top', () => {
    const upward = tsFiles
      .filter((path) => !/^src\/(cli|bench|stress|[^/]+\.ts)/.test(path))
      .flatMap((path) => typescriptImports(path).map((target) => `${path} -> ${target}`))
      .filter((edge) => /-> [^/]+$/.test(edge) && !edge.endsWith('-> errors.js'));
    expect(upward).toEqual([]);
  });

  it('runs downwards in C++', () => {
    const edges = nativeFiles.flatMap((path) =>
      nativeIncludes(path).map((target) => ({ from: relative('native', path), to: target })),
    );
    expect(edges.length).toBeGreaterThan(0);
    expect(findViolations(edges, nativeRules)).toEqual([]);
  });

  it('keeps napi.h, uv.h and the node headers in native/addon', () => {
    const users = nativeFiles.filter((path) =>
      /#\s*include\s*<(napi|node_api|js_native_api|uv|node|v8)[./h]/.test(read(path)),
    );
    expect(users.filter((path) => !path.startsWith('native/addon/'))).toEqual([]);
  });

  it('keeps sockets, files and clocks out of the engine', () => {
    const impure =
      /#\s*include\s*<(sys\/|netinet|arpa|unistd|time|ctime|chrono|thread|fstream|poll)/;
    const engine = nativeFiles.filter((path) => path.startsWith('native/soft/engine/'));
    expect(engine.filter((path) => impure.test(read(path)))).toEqual([]);
  });
});

describe('house style', () => {
  const sources = [...tsFiles, ...testFiles, ...nativeFiles, ...nativeTests, ...scripts];

  it.each(sources)('%s opens with a sentence and fits 100 columns and 700 lines', (path) => {
    const lines = read(path).split('\n');
    const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
    expect(first, 'first line').toMatch(/^(\/\/|\/\*\*?|#) \S.*/);
    const long = lines.flatMap((line, index) => (Array.from(line).length > 100 ? [index + 1] : []));
    expect(long, 'lines over 100 columns').toEqual([]);
    expect(lines.length).toBeLessThanOrEqual(700);
  });

  it('names files in kebab-case in TypeScript and snake_case in C++', () => {
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.test)?\.(ts|mjs|sh)$/;
    const snake = /^[a-z0-9]+(_[a-z0-9]+)*\.(cc|h)$/;
    const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
    expect([...tsFiles, ...testFiles, ...scripts].filter((p) => !kebab.test(name(p)))).toEqual([]);
    expect([...nativeFiles, ...nativeTests].filter((p) => !snake.test(name(p)))).toEqual([]);
  });

  it('has no test that is focused, left for later, or skipped without a reason', () => {
    const marker =
      /\b(it|test|describe)\.(skip|only|todo|skipIf|runIf)\b|GTEST_SKIP\(\)(?! << ")|DISABLED_/;
    const tests = [...testFiles.filter((p) => p.endsWith('.test.ts')), ...nativeTests];
    const marked = tests.filter((p) => !p.endsWith('architecture.test.ts') && marker.test(read(p)));
    expect(marked).toEqual([]);
  });
});
