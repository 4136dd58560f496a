// Reads the import lines and holds them against the rules in src/README.md. Fails on a break or a cycle.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
const SOURCES = ['src', 'services']

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
}

type Import = { from: string; to: string; typeOnly: boolean }

function imports(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const found: Import[] = []
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm))
    found.push({ from: file, to: target(file, match[2] as string), typeOnly: match[1] !== undefined })
  for (const match of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g))
    found.push({ from: file, to: target(file, match[1] as string), typeOnly: false })
  return found
}

function target(file: string, specifier: string): string {
  return specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)) : specifier
}

/** Which layer a file is in: its imports may point to its own layer or one further left. */
const LAYERS = ['src/wire', 'src/domain', 'src/decide', 'services/store', 'services', 'services/main.ts']

function layer(file: string): number {
  if (file === 'services/main.ts') return 5
  return LAYERS.findIndex((name) => file.startsWith(name + '/'))
}

/** `services/dhcp/server.ts` → `services/dhcp`; files that lie in services itself are common ground. */
function service(file: string): string | null {
  const parts = file.split('/')
  return parts[0] === 'services' && parts.length > 2 ? `services/${parts[1]}` : null
}

const all = SOURCES.flatMap(files)
const edges = all.flatMap(imports)

t.test('there is something to check', async (t) => {
  t.ok(all.length > 20, `${all.length} source files`)
  t.ok(edges.length > 50, `${edges.length} imports`)
})

t.test('imports point to the left or stay at home', async (t) => {
  for (const { from, to } of edges) {
    if (!to.startsWith('src/') && !to.startsWith('services/')) continue
    t.ok(layer(to) <= layer(from), `${from} imports ${to}`)
  }
})

t.test('wire imports nothing but node:buffer and node:crypto', async (t) => {
  for (const { from, to } of edges)
    if (from.startsWith('src/wire/'))
      t.ok(
        to.startsWith('src/wire/') || to === 'node:buffer' || to === 'node:crypto',
        `${from} imports ${to}`
      )
})

t.test('src touches nothing of the world', async (t) => {
  for (const { from, to } of edges)
    if (from.startsWith('src/'))
      t.ok(to.startsWith('src/') || to === 'node:buffer' || to === 'node:crypto', `${from} imports ${to}`)
  for (const file of all.filter((name) => name.startsWith('src/'))) {
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    t.notMatch(
      code,
      /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bprocess\.|\bawait\b|\bsetTimeout\b|\brandomBytes\b|\brandomUUID\b/,
      `${file} is pure`
    )
  }
})

t.test('services do not import each other', async (t) => {
  for (const { from, to, typeOnly } of edges) {
    const [mine, theirs] = [service(from), service(to)]
    if (!mine || !theirs || mine === theirs || theirs === 'services/store') continue
    const client = mine === 'services/cli' || mine === 'services/web'
    t.ok(client && typeOnly, `${from} imports ${to}`)
  }
})

t.test('cli and web import types only from elsewhere', async (t) => {
  for (const { from, to, typeOnly } of edges) {
    const client = service(from) === 'services/cli' || service(from) === 'services/web'
    if (!client || service(to) === service(from)) continue
    if (to.startsWith('src/') || to.startsWith('services/')) t.ok(typeOnly, `${from} imports ${to}`)
  }
  t.pass('checked')
})

t.test('no barrels, no classes but errors, no decorators', async (t) => {
  for (const file of all) {
    t.notMatch(file, /(^|\/)index\.ts$/, `${file} is no barrel`)
    const text = readFileSync(join(root, file), 'utf8')
    for (const match of text.matchAll(
      /^\s*(?:export\s+)?(?:abstract\s+)?class\s+(\w+)(?:\s+extends\s+(\w+))?/gm
    ))
      t.match(match[2] ?? '', /Error$/, `${file}: class ${match[1]} is an error`)
    t.notMatch(text, /^\s*@\w+\(/m, `${file} has no decorator`)
  }
})

t.test('imports make no cycle', async (t) => {
  const graph = new Map<string, string[]>()
  for (const { from, to, typeOnly } of edges)
    if (!typeOnly && graph.set(from, graph.get(from) ?? [])) graph.get(from)?.push(to)
  const done = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) return void t.fail([...path.slice(path.indexOf(file)), file].join(' → '))
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  t.pass(`${graph.size} files`)
})
