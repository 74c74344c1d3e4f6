// Allowed imports between folders, checked by `npm run check`. An `import type` is a dependency, too.

/** The folders that each folder may import besides itself and libraries, from the bottom up. */
const layers = {
  contracts: [],
  infra: [],
  services: ['contracts', 'infra'],
  simulators: ['contracts', 'infra', 'services/order/payments'],
  app: ['contracts', 'infra', 'services', 'simulators'],
  demos: ['contracts', 'infra', 'services', 'app'],
  cli: ['contracts', 'infra', 'services', 'app', 'demos'],
  bench: ['contracts', 'infra', 'services', 'simulators', 'app', 'demos', 'cli', 'test/servers'],
  test: ['contracts', 'infra', 'services', 'simulators', 'app', 'demos', 'cli', 'bin'],
};

/** The folders of infra from the bottom up: each may import only those before it, so they form no cycle. */
const infraFolders = [
  'runtime',
  'access',
  'database',
  'operators',
  'mqtt',
  'bus',
  'observability',
  'messaging',
  'queue',
  'http',
  'documents',
];

/** The command that starts a simulator: it may import more than the rest of cli. */
const simulatorCommand = 'cli/payment-provider.ts';
/** The type of a service refers to all types that a service is given, so it may import all of infra. */
const serviceType = 'infra/runtime/service.ts';

const inside = (...folders) => `^(${folders.join('|')})/`;
const exactly = (file) => `^${file.replaceAll('.', '[.]')}$`;

const layerRules = Object.entries(layers).map(([folder, below]) => ({
  name: `layer-${folder}`,
  comment: `${folder} may import: ${[folder, ...below].join(', ')}.`,
  severity: 'error',
  from: { path: inside(folder), pathNot: exactly(simulatorCommand) },
  to: { dependencyTypes: ['local'], pathNot: inside(folder, ...below) },
}));

const infraRules = infraFolders.map((folder, index) => {
  const allowed = infraFolders.slice(0, index + 1).map((below) => `infra/${below}`);
  return {
    name: `infra-${folder}`,
    comment: `infra/${folder} may import: ${allowed.join(', ')}.`,
    severity: 'error',
    from: { path: inside(`infra/${folder}`), pathNot: exactly(serviceType) },
    to: { path: inside('infra'), pathNot: inside(...allowed) },
  };
});

export default {
  forbidden: [
    ...layerRules,
    ...infraRules,
    {
      name: 'layer-simulator-command',
      comment: 'Only the command that starts a simulator may import it.',
      severity: 'error',
      from: { path: exactly(simulatorCommand) },
      to: { dependencyTypes: ['local'], pathNot: inside('cli', ...layers.cli, 'simulators') },
    },
    {
      name: 'contracts-import-zod-only',
      comment: 'contracts may import only zod, and nothing from Node.',
      severity: 'error',
      from: { path: inside('contracts') },
      to: { dependencyTypesNot: ['local'], pathNot: '^node_modules/zod/' },
    },
    {
      name: 'services-apart',
      comment: 'Services meet only in contracts: a service may not import another one.',
      severity: 'error',
      from: { path: '^services/([^/]+)/' },
      to: { path: '^services/', pathNot: '^services/$1/' },
    },
    {
      name: 'no-cycle',
      comment: 'Modules that import each other cannot be understood, tested or moved apart.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    // swc keeps the imports of types, and it does not need the API of the TypeScript compiler, which version 7 lacks.
    parser: 'swc',
    doNotFollow: { path: '^node_modules/' },
    exclude: { path: '^(dist|samples|bench/peers|[.][^/]+)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
