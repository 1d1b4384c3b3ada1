// The rooms of src/ and what each may import (CONTRIBUTING.md shows them as a table). Imports point down only.

/** Highest first; a room imports rooms of lower levels, never its neighbours on the same one. */
const LEVELS = [
  ['cli'],
  ['report', 'serve', 'experiments'],
  ['train'],
  ['growth', 'eval'],
  // Below eval: scoring is inference on packed rows.
  ['infer'],
  ['optim', 'dist', 'interop'],
  ['model'],
  ['program'],
  ['ops'],
];
/** Importable by all, free of tensor code: these import only each other. */
const BASE = ['records', 'data', 'architecture', 'planner', 'files', 'errors.ts', 'version.ts'];
/** Who may bind an engine. Of growth only execution does: plans are made and tested without one. */
const BINDS_ENGINE = ['train', 'eval', 'infer', 'cli'];
const GROWTH_EXECUTION = '^src/growth/execute';
const TEST_FILES = '\\.test\\.ts$|/testing/';

const tensorRooms = [...LEVELS.flat(), 'engine'];
const inRooms = (rooms) => `^src/(${rooms.map((room) => room.replace('.', '\\.')).join('|')})(/|$)`;

const downOnly = LEVELS.flatMap((level, depth) =>
  level.map((room) => ({
    name: `${room}-imports-down`,
    comment: `src/${room} may import only rooms below it`,
    severity: 'error',
    from: { path: inRooms([room]), pathNot: TEST_FILES },
    to: {
      path: inRooms([
        ...LEVELS.slice(0, depth + 1)
          .flat()
          .filter((other) => other !== room),
        'index.ts',
      ]),
    },
  })),
);

module.exports = {
  forbidden: [
    ...downOnly,
    {
      name: 'base-free-of-tensor-code',
      comment: 'the base layer imports only itself',
      severity: 'error',
      from: { path: inRooms(BASE), pathNot: TEST_FILES },
      to: { path: inRooms([...tensorRooms, 'index.ts']) },
    },
    {
      name: 'engine-imports-program-and-ops',
      comment: 'src/engine knows ops and programs, nothing above them',
      severity: 'error',
      from: { path: inRooms(['engine']), pathNot: TEST_FILES },
      to: { path: inRooms([...LEVELS.flat().filter((room) => room !== 'program' && room !== 'ops'), 'index.ts']) },
    },
    {
      name: 'few-bind-an-engine',
      comment: 'only train, eval, infer, growth/execute* and cli bind an engine',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: [inRooms([...BINDS_ENGINE, 'engine', 'index.ts']), GROWTH_EXECUTION, TEST_FILES],
      },
      to: { path: inRooms(['engine']) },
    },
    {
      name: 'only-the-engine-knows-ffi',
      comment: 'koffi is imported in src/engine (and src/dist, which calls MPI)',
      severity: 'error',
      from: { path: '^(src|recipes)/', pathNot: [inRooms(['engine', 'dist']), TEST_FILES] },
      to: { path: '(^|/)koffi(/|$)' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'resolvable',
      comment: 'an import that leads nowhere',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependencies-at-run-time',
      severity: 'error',
      from: { path: '^(src|recipes)/', pathNot: TEST_FILES },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-test-code-at-run-time',
      severity: 'error',
      from: { path: '^(src|recipes)/', pathNot: TEST_FILES },
      to: { path: ['^(test|bench)/', TEST_FILES] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
