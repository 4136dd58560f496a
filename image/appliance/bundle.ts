// Seedling as few files of plain JavaScript, for a quick start: a virtual machine without KVM spends most of a start on finding, stripping
// and compiling some 1,500 modules one by one. Packages that bring machine code stay outside.
//
//   bundle.ts FOLDER     writes FOLDER/main.js, the workers beside it, what they share, and the licences of what is in them
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { build, type Plugin } from 'esbuild'

const top = resolve(import.meta.dirname, '../..')
const [outdir] = process.argv.slice(2)
if (!outdir) throw new Error('name the folder to write to')

/** How the sources name a worker: beside themselves. In the bundle all are in one folder. */
const WORKER = /new URL\('\.\/([\w-]+)\.ts', import\.meta\.url\)/g
const sources = globSync('services/**/*.ts', { cwd: top }).sort()
const workers = sources.flatMap((file) =>
  [...readFileSync(join(top, file), 'utf8').matchAll(WORKER)].map(([, name]) =>
    join(top, file, '..', `${name}.ts`)
  )
)
const names = workers.map((file) => `${basename(join(file, '..'))}-${basename(file, '.ts')}`)

const besideEachOther: Plugin = {
  name: 'workers',
  setup({ onLoad }) {
    onLoad({ filter: /\/services\/.*\.ts$/ }, ({ path }) => ({
      loader: 'ts',
      contents: readFileSync(path, 'utf8').replace(
        WORKER,
        (_, name) =>
          `new URL('./${names[workers.indexOf(join(path, '..', `${name}.ts`))]}.js', import.meta.url)`
      )
    }))
  }
}

const { metafile } = await build({
  absWorkingDir: top,
  entryPoints: [
    { in: 'services/main.ts', out: 'main' },
    ...workers.map((file, at) => ({ in: file, out: names[at]! }))
  ],
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: ['better-sqlite3', 'koffi'],
  plugins: [besideEachOther],
  // Errors keep the names of what was called.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  // Packages of the older kind ask for Node's modules with this.
  banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
  metafile: true,
  logLevel: 'warning'
})

// Of a package of the older kind, bundled, import() gives no names.
for (const [path, { imports }] of Object.entries(metafile.inputs))
  for (const { kind, path: to } of imports)
    if (kind === 'dynamic-import' && to.startsWith('node_modules/') && path.startsWith('services/'))
      throw new Error(`${path}: import() of ${to}; import it with import, in a module that is loaded so`)

const packages = new Set(
  Object.keys(metafile.inputs).flatMap(
    (path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []
  )
)
const licences = [...packages].sort().map((path) => {
  const [file] = globSync('{LICEN[CS]E,licen[cs]e}*', { cwd: join(top, path) }).sort()
  const { name, version, license } = JSON.parse(readFileSync(join(top, path, 'package.json'), 'utf8'))
  return `${name} ${version}: ${license}\n\n${file ? readFileSync(join(top, path, file), 'utf8').trim() : ''}\n`
})
writeFileSync(join(outdir, 'LICENSES'), licences.join(`\n${'-'.repeat(80)}\n\n`))
