// `npm run check` finds each kind of fault: its steps run in a folder with one fault in each file.
import { exec, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const steps = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { check: string } }).scripts
  .check;

/** Each file's path and text. */
type Files = Readonly<Record<string, string>>;

/** Makes a folder with the project's configuration and only these files. */
function folderOf(files: Files): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-lint-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const name of readdirSync(root))
    if (/^(package|tsconfig|knip)\.json$|^\.(oxlintrc|dependency-cruiser)/.test(name))
      cpSync(join(root, name), join(folder, name));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(join(root, 'node_modules/@types'), join(folder, 'node_modules/@types'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

/** Runs the step of the check that begins with `tool` and resolves with its output. The step must fail. */
async function failing(tool: string, files: Files, options = ''): Promise<string> {
  const step = steps.split(' && ').find((each) => each.split(' ')[0] === tool);
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`, NO_COLOR: '1' };
  const cwd = folderOf(files);
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    exec(`${step} ${options}`, { cwd, env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, output: stdout + stderr }),
    );
  });
  expect(code, output).toBeGreaterThan(0);
  return output;
}

describe('promises', () => {
  /** The fault of each file, and the rule that finds it. */
  const faults: Readonly<Record<string, { readonly rule: string; readonly text: string }>> = {
    'a promise that is not awaited': { rule: 'no-floating-promises', text: 'export const run = () => { save(); };' },
    'an async function that is called and not awaited': {
      rule: 'no-floating-promises',
      text: '(async () => { await save(); })();',
    },
    'a promise without a handler for its rejection': {
      rule: 'no-floating-promises',
      text: 'save().finally(() => console.log("saved"));',
    },
    'an async listener': {
      rule: 'no-misused-promises',
      text: 'new EventEmitter().on("message", async () => { await save(); });',
    },
    'an async callback of a timer': {
      rule: 'no-misused-promises',
      text: 'setTimeout(async () => { await save(); }, 10);',
    },
    'an async callback of forEach': {
      rule: 'no-misused-promises',
      text: '[1].forEach(async () => { await save(); });',
    },
    'a promise as a condition': { rule: 'no-misused-promises', text: 'export const saved = save() ? 1 : 2;' },
    'a promise in a template literal': {
      rule: 'no-base-to-string',
      text: 'export const text = `saved: $' + '{save()}`;',
    },
    'a promise that leaves the try block before it rejects': {
      rule: 'return-await',
      text: 'export async function run() { try { return save(); } catch { return 0; } }',
    },
    'an await of a value that is not a promise': { rule: 'await-thenable', text: 'export const two = await 2;' },
  };

  test('are awaited or handled', async () => {
    const names = Object.keys(faults);
    const declarations = 'import { EventEmitter } from "node:events";\ndeclare function save(): Promise<number>;\n';
    const files = Object.fromEntries(names.map((name, n) => [`infra/${n}.ts`, declarations + faults[name]?.text]));
    const found = await failing('oxlint', files, '--format unix');
    const rulesOf = (n: number) =>
      [...found.matchAll(new RegExp(`^infra/${n}\\.ts:.*typescript\\((\\S+)\\)`, 'gm'))].map(([, rule]) => rule);
    expect(Object.fromEntries(names.map((name, n) => [name, rulesOf(n)]))).toEqual(
      Object.fromEntries(names.map((name) => [name, [faults[name]?.rule]])),
    );
  });
});

describe('layers', () => {
  const services = ['order', 'points', 'coupon', 'notify', 'flash-sale'];
  const layers = ['cli', 'demos', 'app', 'services/order', 'infra/bus'];

  const importing: Readonly<Record<string, (path: string) => string>> = {
    value: (path) => `import { x } from '${path}';\nexport const y = x;\n`,
    type: (path) => `import type { X } from '${path}';\nexport type Y = X;\n`,
    effect: (path) => `import '${path}';\n`,
    dynamic: (path) => `export const x = await import('${path}');\n`,
    forwarded: (path) => `export { x } from '${path}';\n`,
    detour: (path) => `import { x } from '${path.replace('/', '/./')}';\nexport const y = x;\n`,
  };

  interface Import {
    readonly from: string;
    readonly to: string;
    /** The rule that forbids the import; undefined if it is allowed. */
    readonly rule: string | undefined;
  }
  type Folders = readonly string[];
  const pairs = (from: Folders, to: Folders, ruleOf: (from: string) => string | undefined): Import[] =>
    from.flatMap((each) => to.map((target) => ({ from: each, to: target, rule: ruleOf(each) })));
  const allow = (from: Folders, to: Folders) => pairs(from, to, () => undefined);
  const forbid = (from: Folders, to: Folders) => pairs(from, to, (each) => `layer-${each.split('/')[0]}`);

  const imports: readonly Import[] = [
    // Each layer imports only the layers below it.
    ...layers.flatMap((layer, at) => [
      ...forbid([layer], layers.slice(0, at)),
      ...allow([layer], layers.slice(at)),
      ...forbid([layer], ['bench', 'test/setup', 'test/servers']),
    ]),
    ...allow(['cli', 'demos', 'app', 'services/order', 'simulators', 'bench', 'test/unit'], ['contracts']),
    ...forbid(['infra/bus'], ['contracts']),
    ...forbid(['contracts'], [...layers, 'simulators', 'bench', 'test/servers']),
    // Services meet only in contracts.
    ...services.flatMap((service) => {
      const others = services.filter((other) => other !== service).map((other) => `services/${other}/store`);
      return [
        ...pairs([`services/${service}`, `services/${service}/pages/browser`], others, () => 'services-apart'),
        ...allow([`services/${service}/store`], [`services/${service}`]),
      ];
    }),
    // Only the composition imports a simulator.
    ...allow(['simulators'], ['infra/bus', 'services/order/payments']),
    ...forbid(['simulators'], ['services/order', 'app', 'demos', 'cli', 'bench', 'test/servers']),
    ...allow(['app'], ['simulators']),
    ...forbid(['cli', 'demos', 'services/order', 'infra/bus'], ['simulators']),
    // Benchmarks and tests import everything but one another.
    ...allow(['bench', 'test/unit'], [...layers, 'simulators']),
    ...allow(['bench'], ['test/servers']),
    ...forbid(['bench'], ['test/setup', 'test/unit']),
    ...forbid(['test/unit', 'test/servers'], ['bench']),
    // The folders of infra form no cycle.
    ...allow(['infra/bus'], ['infra/mqtt', 'infra/runtime']),
    ...pairs(['infra/mqtt'], ['infra/bus', 'infra/messaging'], () => 'infra-mqtt'),
    ...pairs(['infra/runtime'], ['infra/database'], () => 'infra-runtime'),
  ];

  test('import only lower layers, in every form of import', async () => {
    const files: Record<string, string> = {};
    const expected: string[] = [];
    for (const [n, { from, to, rule }] of imports.entries()) {
      const target = `${to}/target.ts`;
      files[target] = 'export const x = 1;\nexport type X = 1;\n';
      for (const [kind, text] of Object.entries(importing)) {
        const file = `${from}/${n}-${kind}.ts`;
        const path = relative(dirname(file), target);
        files[file] = text(path.startsWith('.') ? path : `./${path}`);
        if (rule) expected.push(`${rule}: ${file} → ${target}`);
      }
    }
    expect(violations(await failing('depcruise', files))).toEqual(expected.sort());
  });

  test('contracts import only zod', async () => {
    const library = (name: string) => ({
      [`node_modules/${name}/package.json`]: JSON.stringify({ name, main: 'index.js' }),
      [`node_modules/${name}/index.js`]: '',
    });
    const found = await failing('depcruise', {
      ...library('zod'),
      ...library('uuid'),
      'contracts/a.ts': "import { z } from 'zod';\nexport const a = z.string();\n",
      'contracts/b.ts': "import { v7 } from 'uuid';\nexport const b = v7();\n",
      'contracts/c.ts': "import { readFileSync } from 'node:fs';\nexport const c = readFileSync;\n",
    });
    expect(violations(found).map((violation) => violation.split(' → ')[0])).toEqual([
      'contracts-import-zod-only: contracts/b.ts',
      'contracts-import-zod-only: contracts/c.ts',
    ]);
  });

  test('a simulator is imported only by the command that starts it', async () => {
    const text = "import '../simulators/payment-provider/target.ts';\n";
    const found = await failing('depcruise', {
      'simulators/payment-provider/target.ts': 'export const x = 1;\n',
      'cli/payment-provider.ts': `${text}import '../bench/target.ts';\n`,
      'cli/start.ts': text,
      'bench/target.ts': 'export const x = 1;\n',
    });
    expect(violations(found)).toEqual([
      'layer-cli: cli/start.ts → simulators/payment-provider/target.ts',
      'layer-simulator-command: cli/payment-provider.ts → bench/target.ts',
    ]);
  });

  test('imports that the rules cannot see are forbidden', async () => {
    const files = {
      'app/a.ts': 'export type A = 1;\n',
      'infra/type.ts': "export type A = import('../app/a.ts').A;\n",
      'infra/compiled.ts': "export { A } from '../app/a.js';\n",
    };
    expect(await failing('oxlint', files, '--format unix')).toMatch(/^infra\/type\.ts:.*consistent-type-imports/m);
    expect(violations(await failing('depcruise', files))).toEqual(['layer-infra: infra/compiled.ts → app/a.ts']);
  });

  test.each([
    [
      'modules',
      (self: string, other: string) =>
        `import { ${other} } from './${other}.ts';\nexport const ${self} = () => ${other};\n`,
    ],
    [
      'types',
      (self: string, other: string) =>
        `import type { ${other} } from './${other}.ts';\nexport type ${self} = ${other}[];\n`,
    ],
  ])('%s do not import each other in a cycle', async (_what, text) => {
    const found = await failing('depcruise', {
      'infra/bus/a.ts': text('a', 'b'),
      'infra/bus/b.ts': text('b', 'c'),
      'infra/bus/c.ts': text('c', 'a'),
    });
    expect(found.replaceAll(/\s+/g, ' ')).toContain(
      'error no-cycle: infra/bus/a.ts → infra/bus/b.ts → infra/bus/c.ts → infra/bus/a.ts',
    );
  });

  test('tests and benchmarks are not built', () => {
    const build = ['-p', 'tsconfig.build.json', '--listFilesOnly'];
    const files = execFileSync(join(root, 'node_modules/.bin/tsc'), build, { cwd: root, encoding: 'utf8' });
    const paths = files.trim().split('\n');
    const folders = paths.map((path) => String(relative(root, path).split('/')[0]));
    const sources = ['app', 'cli', 'contracts', 'demos', 'infra', 'services', 'simulators'];
    expect([...new Set(folders)].sort()).toEqual([...sources, 'node_modules'].sort());
  });

  const violations = (output: string) =>
    [...output.matchAll(/error (\S+: \S+ → \S+)/g)].map(([, violation]) => String(violation)).sort();
});

test('every export is used', async () => {
  const found = await failing('knip', {
    'cli/main.ts': "import { used } from './a.ts';\nconsole.log(used);\n",
    'cli/a.ts': 'export const used = 1;\nexport const unused = 2;\nexport interface Unused {}\n',
    'cli/b.ts': 'export const b = 1;\n',
  });
  expect(found).toMatch(/^unused +cli\/a\.ts/m);
  expect(found).toMatch(/^Unused +interface +cli\/a\.ts/m);
  expect(found).toMatch(/^cli\/b\.ts/m);
});

test('a function returns on every path, and a module imported for its effect exists', async () => {
  const found = await failing('tsc', {
    'cli/a.ts': 'export function a(n: number) {\n  if (n > 1) return 1;\n}\n',
    'cli/b.ts': "import './missing.ts';\n",
  });
  expect(found).toMatch(/^cli\/a\.ts\(1,17\): error TS7030/m);
  expect(found).toMatch(/^cli\/b\.ts\(1,8\): error TS2882/m);
});
